from __future__ import annotations

import dataclasses
import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from celebattr import __version__
from celebattr.cli.app import Commands, app, ending
from celebattr.models import bundle

COMMANDS = (
    *("predict", "train", "evaluate", "calibrate", "export", "pack", "align", "doctor", "info"),
    "merge",
)


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1"} | (env or {})).invoke(
        app, [str(a) for a in arguments]
    )


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"celebattr {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    for parameter in Commands().get_command(None, command).params:
        assert parameter.help, parameter.name
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_only_the_command_that_runs_is_loaded() -> None:
    code = (
        "import sys; from celebattr.cli.app import app; app(['merge', '--help'], "
        "standalone_mode=False); print(*(m for m in sys.modules if m.startswith('celebattr.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()[-1].split()) == {
        *("celebattr.cli.app", "celebattr.cli.merge", "celebattr.cli.streams")
    }


def test_a_mistyped_command_is_answered_with_the_one_it_looks_like() -> None:
    result = run("predcit", "x.jpg")
    assert result.exit_code == 2
    assert "Did you mean 'predict'?" in result.output


def test_defaults_are_shown() -> None:
    text = run("train", "--help").stdout
    for default in ("[default: resnet50]", "[default: 0.05]", "[default: bce]"):
        assert default in text
    assert "CELEBATTR_DATA" in text


def test_help_imports_neither_torch_nor_cv2_nor_numpy() -> None:
    code = (
        "import sys; from celebattr.cli.app import Commands, app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'cv2', 'numpy', 'PIL', 'onnxruntime'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip().endswith("[]")


def test_no_data_is_a_usage_error() -> None:
    for command in ("train", "evaluate"):
        result = run(command, env={"CELEBATTR_DATA": ""})
        assert result.exit_code == 2
        assert "give --data DIR or set CELEBATTR_DATA" in result.stderr


def test_a_wrong_folder_is_a_data_error(tmp_path: Path) -> None:
    result = run("evaluate", "--data", tmp_path)
    assert result.exit_code == 3
    assert "is not a data set" in result.stderr


def test_a_choice_that_is_none_is_refused() -> None:
    assert run("train", "--loss", "hinge").exit_code == 2
    assert run("train", "--data", "x", "--lr", "-1").exit_code == 2


@pytest.mark.parametrize("format", ["json", "csv", "markdown", "table"])
def test_a_bundle_is_evaluated_in_every_format(
    drawn_celeba: Path, tiny_onnx: Path, format: str
) -> None:
    result = run(
        *("evaluate", "--data", drawn_celeba, "--weights", tiny_onnx, "--format", format),
    )
    assert result.exit_code == 0, result.output
    assert "Smiling" in result.stdout
    if format == "json":
        report = json.loads(result.stdout)
        assert (report["images"], report["split"]) == (24, "test")
        assert len(report["attributes"]) == 40
        assert 0 < report["mean_attribute_accuracy"] < 1
        assert report["images_per_second"] > 0


def test_the_data_may_come_from_the_environment(drawn_celeba: Path, tiny_onnx: Path) -> None:
    result = run(
        *("evaluate", "--weights", tiny_onnx, "--split", "train", "--limit", "10"),
        env={"CELEBATTR_DATA": str(drawn_celeba)},
    )
    assert json.loads(result.stdout)["images"] == 10


def test_torch_and_onnx_give_the_same_figures(
    drawn_celeba: Path, tiny_bundle: Path, tiny_onnx: Path
) -> None:
    def accuracy(weights: Path) -> float:
        result = run(
            *("evaluate", "--data", drawn_celeba, "--weights", weights),
            *(("--precision", "float32") if weights == tiny_bundle else ()),
        )
        return float(json.loads(result.stdout)["mean_attribute_accuracy"])

    assert accuracy(tiny_bundle) == pytest.approx(accuracy(tiny_onnx), abs=0.003)


def test_flipping_changes_the_figures_but_not_the_count(
    drawn_celeba: Path, tiny_onnx: Path
) -> None:
    plain, flipped = (
        json.loads(run("evaluate", "--data", drawn_celeba, "--weights", tiny_onnx, *f).stdout)
        for f in ((), ("--flip",))
    )
    assert plain["images"] == flipped["images"]
    assert plain["mean_average_precision"] != flipped["mean_average_precision"]


def test_export_writes_a_bundle_that_predicts(tiny_bundle: Path, tmp_path: Path) -> None:
    result = run("export", tiny_bundle, "--output", tmp_path / "x.onnx")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "x.onnx")
    card = json.loads(run("info", tmp_path / "x.onnx", "--format", "json").stdout)
    assert card["precision"] == "float32"
    assert len(card["attributes"]) == 40


def test_int8_export_without_data_is_refused(tiny_bundle: Path) -> None:
    result = run("export", tiny_bundle, "--int8", env={"CELEBATTR_DATA": ""})
    assert result.exit_code == 2
    assert "--int8 needs images" in result.stderr


def test_info_names_device_versions_and_bundles() -> None:
    text = run("info").stdout
    for word in ("device", "CPU", "onnxruntime", "torch", "bundle", "celebattr-resnet50"):
        assert word in text


def copy_with_counts(source: Path, target: Path) -> Path:
    """A bundle whose validation images all had the probabilities 0.25 (absent) and 0.45."""
    counts = np.zeros((2, 40, 100), int)
    counts[0, :, 25], counts[1, :, 45] = 70, 30
    target.write_bytes(source.read_bytes())
    bundle.rewrite(target, dataclasses.replace(bundle.card_of(source), counts=counts.tolist()))
    return target


def test_an_operating_point_moves_the_thresholds(
    tiny_bundle: Path, drawn_celeba: Path, tmp_path: Path
) -> None:
    weights = copy_with_counts(tiny_bundle, tmp_path / "counted.safetensors")
    command = ("evaluate", "--data", drawn_celeba, "--weights", weights, "--limit", "20")
    reports = {
        point: json.loads(run(*command, "--operating-point", point).stdout)
        for point in ("default", "f1", "recall=0.9", "precision=0.99")
    }
    # All lie between the two: the tiny network's 0.5 is present at each but the default's edge.
    assert len({report["mean_average_precision"] for report in reports.values()}) == 1
    assert reports["f1"]["mean_balanced_accuracy"] != reports["default"]["mean_balanced_accuracy"]


def test_operating_points_that_make_no_sense_are_refused(
    tiny_bundle: Path, drawn_celeba: Path
) -> None:
    command = ("evaluate", "--data", drawn_celeba, "--weights", tiny_bundle)
    for point in ("best", "precision", "precision=2", "recall=0", "f1=0.5"):
        result = run(*command, "--operating-point", point)
        assert result.exit_code == 2
        assert "precision=0.9" in result.stderr
    result = run(*command, "--operating-point", "f1")
    assert result.exit_code == 2
    assert "holds no counts" in result.stderr
    result = run("predict", "x.jpg", "--threshold", "0.3", "--operating-point", "f1")
    assert result.exit_code == 2
    assert "exclude each other" in result.stderr


def test_figures_are_written_into_the_card_and_shown(
    tiny_bundle: Path, drawn_celeba: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(tiny_bundle.read_bytes())
    result = run(
        *("evaluate", "--data", drawn_celeba, "--weights", weights, "--write-card"),
        *("--slices", "male,Young", "--format", "json"),
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert sum(one["images"] for one in report["slices"]) == report["images"]
    card = json.loads(run("info", weights, "--format", "json").stdout)
    written = card["metrics"]["test"]
    assert written["mean_attribute_accuracy"] == report["mean_attribute_accuracy"]
    assert written["intervals"] == report["intervals"]
    assert [row["attribute"] for row in written["attributes"]] == card["attributes"]
    text = run("info", weights, "--format", "markdown").stdout
    assert "| test: not Male, Young |" in text
    assert "| Wearing_Hat |" in text
    assert "What it is not for" in run("info", weights, "--format", "text").stdout


def test_heat_maps_are_tested_for_peaks_where_attributes_are(
    tiny_bundle: Path, tiny_onnx: Path, drawn_celeba: Path
) -> None:
    words = ("evaluate", "--data", drawn_celeba, "--pointing")
    report = json.loads(run(*words, "--weights", tiny_bundle, "--format", "json").stdout)
    smiling = next(row for row in report["pointing"] if row["attribute"] == "Smiling")
    assert smiling["region"] == "mouth"
    assert 0 < smiling["images"] < report["images"]
    assert 0.0 <= smiling["inside"] <= 1.0
    text = run(*words, "--weights", tiny_bundle, "--format", "markdown").stdout
    assert "| map of | peaks in | images | share | centre | area |" in text
    table = run(*words, "--weights", tiny_bundle, "--format", "table").stdout
    assert "top of the head" in table
    refused = run(*words, "--weights", tiny_onnx)
    assert refused.exit_code == 4
    assert "give the .safetensors bundle" in refused.stderr


def test_the_shipped_card_is_not_written_by_accident(drawn_celeba: Path) -> None:
    result = run("evaluate", "--data", drawn_celeba, "--write-card")
    assert result.exit_code == 2
    assert "name it with --weights" in result.stderr


def test_a_photo_in_the_place_of_a_command_is_answered_with_predict() -> None:
    done = run("my photo.jpg", "--faces", "all")
    assert done.exit_code == 2
    assert "Did you mean: celebattr predict 'my photo.jpg' --faces all" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_of_one_value_given_twice_is_refused(command: str) -> None:
    found = Commands().get_command(None, command)
    single = [p for p in found.params if p.param_type_name == "option" and not p.multiple]
    option = next(p for p in single if not p.is_flag and not p.is_eager and not p.hidden)
    done = run(command, option.opts[0], "1", "x", f"{option.opts[-1]}=1")
    assert done.exit_code == 2
    assert f"{option.opts[-1]} is given twice" in done.stderr


@pytest.mark.parametrize(
    ("words", "twice"),
    [
        (["predict", "-w", "a", "--weights", "b"], True),
        (["predict", "-wa", "-qwb"], True),
        (["train", "--out", "a", "--output", "b"], True),  # the first is its earlier name
        (["predict", "-q", "-q", "-w", "-w"], False),  # flags, and a value
        (["train", "--data", "a", "-d", "b"], False),  # takes several
    ],
)
def test_however_an_option_is_spelled_it_is_one(words: list[str], twice: bool) -> None:
    done = run(*words, "x.jpg")
    assert ("is given twice" in done.stderr) == twice


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (MemoryError(), 5, "out of memory"),
        (
            OSError(errno.ENOSPC, "No space left on device", "rows"),
            3,
            "cannot write rows: no space",
        ),
        (OSError(errno.EROFS, "Read-only file system"), 3, "cannot write a file: read-only"),
    ],
)
def test_what_runs_out_ends_any_command_in_one_line(
    error: Exception, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, ending():
        raise error
    assert ended.value.code == code
    written = capsys.readouterr().err
    assert written.startswith(f"celebattr: {told}")
    assert written.count("\n") == 1
