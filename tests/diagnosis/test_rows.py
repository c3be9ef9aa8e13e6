"""Accidents that happen to lists, and frequencies that are not CelebA's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from accidents import LIST, PARTITION, found, lines_of, loads, report_of, write

from celebattr.attributes import CELEBA
from celebattr.diagnosis import rows
from celebattr.diagnosis.report import Finding

# What happens to lists


def test_a_wrong_count_line_is_found(tmp_path: Path) -> None:
    lines_of(write(tmp_path / "more"), LIST, lambda lines: ["12", *lines[1:]])
    finding = found(report_of(tmp_path / "more"), "count line")
    assert finding.severity == "warning"
    assert "says 12 rows, and there are 16" in finding.what
    lines_of(write(tmp_path / "less"), LIST, lambda lines: ["202599", *lines[1:]])
    report = report_of(tmp_path / "less")
    assert not report.trains
    assert "says 202,599 rows in its first line and has 16" in found(report, "incomplete").what


def test_a_deleted_count_line_is_found(tmp_path: Path) -> None:
    lines_of(write(tmp_path), LIST, lambda lines: lines[1:])
    report = report_of(tmp_path)
    assert report.trains
    assert "lost its first line" in found(report, "count line").what


def test_a_deleted_header_is_found(tmp_path: Path) -> None:
    lines_of(write(tmp_path), LIST, lambda lines: [lines[0], *lines[2:]])
    report = report_of(tmp_path)
    assert report.trains
    finding = found(report, "header")
    assert finding.severity == "warning"
    assert " ".join(CELEBA) in finding.remedy


def test_doubled_rows_are_found_and_whether_they_contradict_each_other(tmp_path: Path) -> None:
    lines_of(write(tmp_path / "a"), LIST, lambda lines: ["17", *lines[1:], lines[3]])
    finding = found(report_of(tmp_path / "a"), "doubled rows")
    assert finding.what == "1 image with more than one row"
    assert finding.examples == ("000002.jpg",)

    def contradict(lines: list[str]) -> list[str]:
        swap = {"1": "-1", "-1": "1"}
        name, *values = lines[3].split()
        return ["17", *lines[1:], " ".join([name, *(swap[v] for v in values)])]

    lines_of(write(tmp_path / "b"), LIST, contradict)
    finding = found(report_of(tmp_path / "b"), "doubled rows")
    assert "1 of them with rows that contradict each other" in finding.what


def test_an_image_in_two_splits_of_the_list_is_found(tmp_path: Path) -> None:
    lines_of(write(tmp_path), PARTITION, lambda lines: [*lines, "000001.jpg 2", "000099.jpg 0"])
    report = report_of(tmp_path)
    finding = found(report, "doubled rows")
    assert "list_eval_partition.txt puts 1 image into two splits" in finding.what
    assert finding.examples == ("000001.jpg",)
    assert "1 image without labels" in found(report, "rows without labels").what


def test_missing_and_extra_images_are_counted(tmp_path: Path) -> None:
    images = write(tmp_path, "torchvision") / "img_align_celeba"
    (images / "000003.jpg").rename(images / "900000.jpg")
    report = report_of(tmp_path)
    assert not report.trains
    finding = found(report, "missing images")
    assert finding.examples == ("000003.jpg",)
    assert "--skip-missing" in finding.remedy
    assert found(report, "images without labels").examples == ("900000.jpg",)


def test_a_damaged_list_of_people_is_a_warning(tmp_path: Path) -> None:
    (write(tmp_path) / "Anno/identity_CelebA.txt").write_text("000001.jpg nobody\n")
    report = report_of(tmp_path)
    assert report.trains
    assert found(report, "people").severity == "warning"


def test_a_split_without_images_is_a_problem_only_where_training_needs_it(tmp_path: Path) -> None:
    lines_of(write(tmp_path / "a"), PARTITION, lambda ls: [line[:-1] + "0" for line in ls])
    report = report_of(tmp_path / "a")
    severities = {f.what[:13]: f.severity for f in report.findings if f.check == "empty split"}
    assert severities == {"no validation": "note", "no test image": "note"}
    assert report.trains
    assert loads(tmp_path / "a")
    lines_of(tmp_path / "a", PARTITION, lambda ls: [line[:-1] + "1" for line in ls])
    assert not report_of(tmp_path / "a").trains
    assert not loads(tmp_path / "a")
    joined = (tmp_path / "a", write(tmp_path / "b", seed=1))
    assert loads(*joined)
    assert report_of(*joined).trains


def test_folders_with_other_attributes_are_joined_and_said_to_differ(tmp_path: Path) -> None:
    write(tmp_path / "a", "csv")
    path = write(tmp_path / "b", "csv", seed=1) / "labels.csv"
    path.write_text(path.read_text().replace("Smiling", "Grinning"))
    report = report_of(tmp_path / "a", tmp_path / "b")
    assert report.trains
    joint = [f for f in report.findings if "different attributes" in f.what]
    assert joint[0].severity == "note"
    assert joint[0].examples == ("Grinning", "Smiling")


# Frequencies


def like_celeba(folder: Path, count: int, seed: int = 0) -> Path:
    """Lists with CelebA's frequencies, all test but for two rows, and no images."""
    shares = np.array([rows.PERCENT["test"][name] for name in CELEBA]) / 100
    targets = np.random.default_rng(seed).random((count, 40)) < shares
    names = [f"{182_638 + i}.jpg" for i in range(count)]
    (folder / "Anno").mkdir(parents=True)
    (folder / "Eval").mkdir()
    (folder / "img_align_celeba").mkdir()
    (folder / "img_align_celeba" / names[0]).touch()
    table = [f"{n} {' '.join('1' if v else '-1' for v in t)}" for n, t in zip(names, targets)]  # noqa: B905
    (folder / LIST).write_text("\n".join([str(count), " ".join(CELEBA), *table]) + "\n")
    (folder / PARTITION).write_text("\n".join(f"{n} 2" for n in names) + "\n")
    return folder


def prevalence(folder: Path) -> list[Finding]:
    report = report_of(folder, quick=True)
    checks = ("prevalence", "order of attributes")
    return [finding for finding in report.findings if finding.check in checks]


def test_celebas_frequencies_are_known_in_any_order_of_columns(tmp_path: Path) -> None:
    like_celeba(tmp_path, 600)
    [finding] = prevalence(tmp_path)
    assert finding.severity == "ok"
    assert finding.what.startswith("test: attributes are as frequent as in CelebA, to 0.")

    def turn(lines: list[str]) -> list[str]:
        turned = [" ".join([r.split()[0], *reversed(r.split()[1:])]) for r in lines[2:]]
        return [lines[0], " ".join(reversed(lines[1].split())), *turned]

    lines_of(tmp_path, LIST, turn)
    order, shares = prevalence(tmp_path)
    assert (order.check, order.severity) == ("order of attributes", "note")
    assert shares.severity == "ok"


def test_names_that_are_not_those_of_their_columns_are_found(tmp_path: Path) -> None:
    like_celeba(tmp_path, 600)
    lines_of(tmp_path, LIST, lambda ls: [ls[0], " ".join(reversed(ls[1].split())), *ls[2:]])
    finding = prevalence(tmp_path)[-1]
    assert finding.severity == "warning"
    assert "the names above the columns are not theirs" in finding.what


def test_exchanged_values_are_found(tmp_path: Path) -> None:
    like_celeba(tmp_path, 600)
    path = tmp_path / LIST
    path.write_text(path.read_text().replace("-1", "x").replace(" 1", " -1").replace("x", "1"))
    [finding] = prevalence(tmp_path)
    assert "0 and 1 are exchanged" in finding.what


def test_labels_of_something_else_are_found(tmp_path: Path) -> None:
    like_celeba(tmp_path, 600)

    def shuffle(lines: list[str]) -> list[str]:
        rng = np.random.default_rng(0)
        order = rng.permutation(40)
        cells = [line.split() for line in lines[2:]]
        return [*lines[:2], *(" ".join([c[0], *(c[1:][i] for i in order)]) for c in cells)]

    lines_of(tmp_path, LIST, shuffle)
    [finding] = prevalence(tmp_path)
    assert finding.severity == "warning"
    assert "not as frequent as in CelebA" in finding.what
    assert "get the list of attributes again" in finding.remedy


def test_official_test_images_in_train_are_a_warning(tmp_path: Path) -> None:
    like_celeba(tmp_path, 200)
    lines_of(tmp_path, PARTITION, lambda ls: [line[:-1] + "0" for line in ls[:50]] + ls[50:])
    finding = found(report_of(tmp_path, quick=True), "splits")
    assert finding.severity == "warning"
    assert finding.what == "50 images in train here and in test in CelebA"


def test_few_rows_say_nothing_of_frequencies() -> None:
    truth = np.array(list(rows.PERCENT["test"].values()))
    rng = np.random.default_rng(0)
    for count in (100, 1000, 20_000):
        off = [
            rows.beyond_chance(rng.binomial(count, truth / 100) * 100 / count, truth, count)
            for _ in range(50)
        ]
        assert abs(np.mean(off)) < 0.15
        assert max(off) < rows.NEAR
