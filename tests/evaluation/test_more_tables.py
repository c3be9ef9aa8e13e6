from __future__ import annotations

import dataclasses
import json

import pytest
from samples import report

from celebattr.evaluation import writers
from celebattr.evaluation.report import (
    CorruptionReport,
    EvalReport,
    LogicReport,
    PublishedReport,
    RuleReport,
)
from celebattr.evaluation.tables import parts

PLAIN = report(
    split="validation",
    mean_roc_auc=None,
    intervals={"mean_attribute_accuracy": (0.9, 0.92)},
)
FULL = dataclasses.replace(
    PLAIN,
    logic=LogicReport(
        rules=tuple(
            RuleReport(f"Bald with {name}", share, 0.01)
            for name, share in [("A", 0.0), *((c, 0.01 * i) for i, c in enumerate("BCDEFGH", 1))]
        ),
        predicted=0.2,
        labelled=0.028,
        consistent_accuracy=0.9112,
        difference=0.0012,
        interval=(-0.0003, 0.0025),
    ),
    corruptions=(
        CorruptionReport("jpeg", "quality 10", 0.85, 0.6, -0.06, (-0.07, -0.05)),
        CorruptionReport("dark", "times 0.2", 0.9, None, -0.01, None),
    ),
    published=(
        PublishedReport("Old", 2015, 0.873, 40, "arXiv:1", "a note", {"Smiling": 0.92}),
        PublishedReport("New", None, 0.92, 40, "github.com/x", "code"),
    ),
)


def notes(report: EvalReport, at: int) -> str:
    return " ".join(parts(report)[at].notes)


def test_a_report_without_them_has_no_parts() -> None:
    assert parts(PLAIN) == []


def test_contradictions_are_sorted_and_the_short_table_names_a_few() -> None:
    logic = parts(FULL)[1]
    assert logic.rows[0] == ("Bald with H", "7.00", "1.00")
    assert len(logic.rows) == 9
    assert logic.rows[-1] == ("any contradiction", "20.00", "2.80")
    assert "91.12, +0.12 [-0.03, +0.25] points" in logic.notes[0]
    short = parts(FULL, most=10)[1]
    assert [row[0] for row in short.rows] == [
        *(f"Bald with {c}" for c in "HGFED"),
        short.rows[-1][0],
    ]


def test_it_is_said_when_the_figures_are_those_of_consistent_answers() -> None:
    consistent = dataclasses.replace(FULL, consistent=True)
    assert "other figures of this report are theirs" in notes(consistent, 1)
    assert "other figures" not in notes(FULL, 1)


def test_spoiled_images_stand_under_those_as_they_are() -> None:
    spoiled = parts(FULL)[0]
    assert spoiled.rows == (
        ("as they are", "91.00", "70.00", ""),
        ("jpeg, quality 10", "85.00", "60.00", "-6.00 [-7.00, -5.00]"),
        ("dark, times 0.2", "90.00", "", "-1.00"),
    )


def test_ours_comes_first_then_the_published_from_the_best_with_a_warning() -> None:
    others = parts(FULL)[2]
    assert [row[0] for row in others.rows] == ["this bundle", "New", "Old"]
    assert others.rows[0][2:4] == ("91.00 [90.00, 92.00]", "200 images (validation)")
    assert others.rows[1] == ("New", "-", "92.00", "github.com/x", "code")
    assert "data and protocol differ" in others.notes[0]
    assert parts(FULL, most=10)[2].titles == ("method", "year", "accuracy")
    assert {len(row) for row in parts(FULL, most=10)[2].rows} == {3}


def test_markdown_and_json_have_all_of_it() -> None:
    text = writers.render(FULL, "markdown")
    assert "| Bald with A | 0.00 | 1.00 |" in text
    assert "| jpeg, quality 10 | 85.00 | 60.00 | -6.00 [-7.00, -5.00] |" in text
    assert "| Old | 2015 | 87.30 | arXiv:1 | a note |" in text
    values = json.loads(writers.render(FULL, "json"))
    assert values["logic"]["interval"] == [-0.0003, 0.0025]
    assert values["corruptions"][1]["mean_average_precision"] is None
    assert values["published"][0]["by_attribute"] == {"Smiling": 0.92}


@pytest.mark.parametrize("width", [60, 100])
def test_a_terminal_shows_them_within_its_width(width: int) -> None:
    import io

    from rich.console import Console

    from celebattr.cli.tables import evaluation_table

    console = Console(file=io.StringIO(), width=width)
    console.print(evaluation_table(FULL))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    for text in ("jpeg, quality 10", "any contradiction", "this bundle", "-6.00 [-7.00, -5.00]"):
        assert any(text in line for line in lines)
