from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console
from samples import report

from celebattr.attributes import CELEBA
from celebattr.cli import tables
from celebattr.evaluation.report import (
    AttributeReport,
    Comparison,
    Difference,
    GapReport,
    SliceReport,
)
from celebattr.predictions import FaceBox, Failure, Prediction

FACE = Prediction(
    path="photos/a.jpg",
    face=2,
    faces=3,
    box=FaceBox(10, 20, 110, 150, 0.9),
    probabilities={name: 0.999 - 0.025 * i for i, name in enumerate(CELEBA)},
    present=list(CELEBA[:20]),
    unsure=["Eyeglasses", "Gray_Hair", "Heavy_Makeup", "Mouth_Slightly_Open"],
)
REPORT = report(
    images=4548,
    mean_attribute_accuracy=0.9042,
    majority_accuracy=0.7975,
    mean_balanced_accuracy=None,
    mean_f1=0.7,
    mean_average_precision=0.75,
    attributes=tuple(
        AttributeReport(
            name, 100 + i, 0.7 if name == "Male" else 0.9, 0.8, None, 0.5, 0.4, 0.9, 0.0, 0.1
        )
        for i, name in enumerate(CELEBA)
    ),
    images_per_second=91.8,
)
FULL = dataclasses.replace(
    REPORT,
    people=251,
    slices=tuple(
        SliceReport({"Male": male, "Young": young}, 1000 + male, 20 + 80 * young, 0.9, 0.7)
        for male in (True, False)
        for young in (True, False)
    ),
    gaps=tuple(
        GapReport(name, "Male, not Young", "not Male, Young", 0.9, 0.8, 0.1, (0.0, 0.2), i, i < 30)
        for i, name in enumerate(CELEBA)
    ),
    against=Comparison(
        "celebattr-resnet50-int8.onnx",
        tuple(
            Difference(metric, name, 0.9, 0.8, (0.05, 0.15), name == "Male")
            for metric, name in (
                ("mean_attribute_accuracy", None),
                *(("average_precision", name) for name in CELEBA),
            )
        ),
    ),
)


def show(what: object, width: int = 80, encoding: str = "utf-8", colour: bool = False) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    console = Console(
        file=stream, width=width, force_terminal=True, no_color=not colour, color_system="truecolor"
    )
    console.print(what)
    stream.flush()
    return raw.getvalue().decode(encoding)


def plain(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize(
    "what",
    [
        tables.prediction_table(FACE),
        tables.evaluation_table(REPORT),
        tables.evaluation_table(FULL),
    ],
    ids=["face", "evaluation", "evaluation with slices, gaps and differences"],
)
def test_every_width_holds_its_lines_and_no_name_is_cut(what: object, width: int) -> None:
    lines = plain(show(what, width)).splitlines()
    assert max(len(line) for line in lines) <= width
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize(("score", "shown"), [(0.85, True), (0.93, False)])
def test_a_low_score_of_the_detector_is_shown_and_explained(score, shown, capsys):
    low = dataclasses.replace(FACE, box=FaceBox(10, 20, 110, 150, score))
    assert ("detector's score 0.85 *" in show(tables.prediction_table(low))) == shown
    out = tables.Tables()
    out.write([low])
    out.finish(None)
    assert ("--min-score" in capsys.readouterr().out) == shown


def test_present_attributes_come_first_by_probability_with_doubt_marked() -> None:
    lines = plain(show(tables.prediction_table(FACE))).splitlines()
    assert lines[0].rstrip() == "photos/a.jpg  face 2 of 3"
    assert lines[1].split()[:3] == ["5", "o", "Clock"]
    assert ">99 %" in lines[1]
    doubtful = [line for line in lines[1:21] if line.rstrip().endswith("?")]
    assert [line.split()[0] for line in doubtful] == ["Eyeglasses", "Gray", "Heavy"]


def test_absent_attributes_are_few_lines_the_closest_first_and_every_doubt_named() -> None:
    lines = plain(show(tables.prediction_table(FACE))).splitlines()
    absent = " ".join(lines[21:])
    assert len(lines[21:]) <= 4
    assert absent.index("Male") < absent.index("Mouth Slightly Open 47 % ?")
    assert "and 14 more of 35 % or less" in " ".join(absent.split())


def test_a_face_without_attributes_says_so() -> None:
    nothing = Prediction("a.jpg", 1, 1, None, {"Bald": 0.001, "Male": 0.2}, [], [])
    text = plain(show(tables.prediction_table(nothing)))
    assert "none of the attributes is present" in text
    assert "absent: Male 20 %, Bald <1 %" in text


def test_bars_can_be_told_apart_without_colour() -> None:
    lines = plain(show(tables.prediction_table(FACE))).splitlines()
    assert lines[1].count("━") > lines[20].count("━") + 10


def test_no_color_gives_no_colour_and_colour_gives_some() -> None:
    assert "\x1b[32m" not in show(tables.prediction_table(FACE))
    assert "\x1b[32m" in show(tables.prediction_table(FACE), colour=True)


def test_an_ascii_terminal_gets_ascii() -> None:
    named = Prediction("été\udce9.jpg", 1, 1, None, {"Bärtig": 0.9}, ["Bärtig"], [])
    text = plain(show(tables.prediction_table(named), encoding="ascii"))
    assert r"\xe9t\xe9\xe9.jpg" in text
    assert "####" in text


def test_a_name_cannot_send_codes_to_the_terminal() -> None:
    failure = Failure("a\x1b[2J\nb[red].jpg", "too_large", "\x07 200 megapixels")
    text = show(tables.result_table(failure), width=120)
    assert "\x1b[2J" not in text
    assert plain(text).rstrip() == r"a\x1b[2J\nb[red].jpg  too large  \x07 200 megapixels"


def test_the_evaluation_shows_the_mean_beside_its_baseline_and_undefined_as_a_dash() -> None:
    text = plain(show(tables.evaluation_table(REPORT), width=120))
    assert "90.42 %, majority baseline 79.75" in text
    assert "91.8" in text
    smiling = next(line for line in text.splitlines() if line.startswith("Smiling"))
    assert smiling.split() == [
        "Smiling",
        "131",
        "90.00",
        "80.00",
        "-",
        "50.00",
        "40.00",
        "90.00",
        "0.00",
        "10.00",
    ]
    male = next(line for line in text.splitlines() if line.startswith("Male"))
    assert "70.00!" in male


def test_a_narrow_evaluation_says_that_there_are_more_columns() -> None:
    assert "more columns" in plain(show(tables.evaluation_table(REPORT), width=60))
    assert "more columns" not in plain(show(tables.evaluation_table(REPORT), width=100))


def test_sorted_tables_show_the_largest_ten_and_say_so() -> None:
    text = plain(show(tables.evaluation_table(FULL), width=120))
    assert "the largest 10 of 40 gaps" in text
    assert sum("Male, not Young 90.00" in line for line in text.splitlines()) == 10
    assert "39 of 40 differences are not noise, the largest 10 shown" in text
    assert sum(" AP " in line and "better" in line for line in text.splitlines()) == 10
    assert "against celebattr-resnet50-int8.onnx, the same images" in text


def test_small_slices_are_warned_of_in_yellow() -> None:
    text = show(tables.evaluation_table(FULL), width=120, colour=True)
    warnings = [line for line in text.splitlines() if "warning" in line]
    assert ["20" in line for line in warnings] == [True, False]
    assert all(line.startswith("\x1b[33m") for line in warnings)


def test_the_footnote_fits_a_line() -> None:
    assert len(plain(show(tables.footnote(), width=100)).splitlines()) == 1
