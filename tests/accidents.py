"""What tests of the doctor share: small data sets, reports on them, and what is found there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from layouts import write_celeba

from celebattr.data.dataset import hold_out
from celebattr.data.layouts.load import load_dataset
from celebattr.diagnosis.config import DoctorConfig
from celebattr.diagnosis.examine import examine
from celebattr.diagnosis.report import SEVERITIES, DoctorReport, Finding
from celebattr.errors import DataError

LIST = "Anno/list_attr_celeba.txt"
PARTITION = "Eval/list_eval_partition.txt"
ARCHIVE = "Img/img_align_celeba.zip"
QUOTA = "<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title>"


def write(folder: Path, layout: str = "official", seed: int = 0) -> Path:
    return write_celeba(folder, train=8, validation=4, test=4, layout=layout, seed=seed)


def report_of(*folders: Path, **options: object) -> DoctorReport:
    report = examine(DoctorConfig(data=folders, **options))  # type: ignore[arg-type]
    for finding in report.findings:
        assert finding.severity in SEVERITIES
        assert finding.what
        if finding.severity in ("warning", "problem"):
            assert finding.remedy, finding
    return report


def found(report: DoctorReport, check: str) -> Finding:
    several = [finding for finding in report.findings if finding.check == check]
    assert len(several) == 1, [f.check for f in report.findings]
    return several[0]


def loads(*folders: Path) -> bool:
    """Whether the data set can be read and has what training wants: the truth to compare with."""
    try:
        dataset, _ = hold_out(load_dataset(folders), seed=0)
        for row in range(len(dataset)):
            dataset.read(row)
    except DataError:
        return False
    return bool(len(dataset.split("train")) and len(dataset.split("validation")))


def lines_of(folder: Path, name: str, change: Callable[[list[str]], Sequence[str]]) -> None:
    path = folder / name
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")
