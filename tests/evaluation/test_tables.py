from __future__ import annotations

import csv
import dataclasses
import io
import json

from samples import report

from celebattr.evaluation import writers
from celebattr.evaluation.report import (
    AttributeReport,
    Comparison,
    Difference,
    GapReport,
    SliceReport,
)
from celebattr.evaluation.tables import difference_cells, gap_cells, parts
from celebattr.reports.formatting import points

BETTER = Difference("average_precision", "Smiling", 0.9, 0.8, (0.05, 0.15), False)
WORSE = Difference("accuracy", "Odd|Name", 0.7, 0.9, (-0.3, -0.1), False)
NOISE = Difference("accuracy", "Smiling", 0.9, 0.9, (-0.01, 0.01), True)
UNDEFINED = Difference("average_precision", "Odd|Name", None, None, None, True)
MEAN = Difference("mean_attribute_accuracy", None, 0.8, 0.9, (-0.2, 0.05), True)
CALIBRATION = Difference("mean_expected_calibration_error", None, 0.01, 0.03, (-0.03, -0.01), False)
EXACT = Difference("exact_match_ratio", None, 0.1, 0.1, (0.0, 0.0), True)

SMALL = GapReport("Bald", "Male", "not Male", 1.0, 0.0, 1.0, (1.0, 1.0), 2, True)
GAP = GapReport("Smiling", "Young", "not Young", 0.9, 0.8, 0.1, (0.05, 0.15), 1200, False)

REPORT = report(
    weights="ours.onnx",
    mean_attribute_accuracy=0.8,
    exact_match_ratio=0.1,
    people=45,
    attributes=(
        AttributeReport("Smiling", 100, 0.9, 0.5, 0.93, 0.93, 0.9, 0.98, 0.01, 0.05),
        AttributeReport("Odd|Name", 0, 0.7, 1.0, None, None, None, None, 0.0, 0.0),
    ),
    slices=(
        SliceReport({"Young": True}, 150, 40, 0.82, 0.7),
        SliceReport({"Young": False}, 50, 12, 0.74, 0.6),
    ),
    gaps=(SMALL, GAP),
    against=Comparison(
        "theirs|x.onnx", (MEAN, CALIBRATION, EXACT, BETTER, WORSE, NOISE, UNDEFINED)
    ),
)


def test_a_difference_is_better_worse_or_noise_and_a_lower_error_is_better() -> None:
    assert difference_cells(BETTER) == (
        "Smiling AP",
        "90.00",
        "80.00",
        "+10.00 [+5.00, +15.00]",
        "better",
    )
    assert difference_cells(WORSE)[-1] == "worse"
    assert difference_cells(CALIBRATION)[-2:] == ("-2.00 [-3.00, -1.00]", "better")
    assert difference_cells(NOISE)[-1] == "noise"
    assert difference_cells(UNDEFINED) == ("Odd|Name AP", "", "", "", "")


def test_no_difference_has_a_plus_and_one_that_rounds_to_nothing_keeps_its_sign() -> None:
    assert points(-0.0, (-0.0, 0.0)) == "+0.00 [+0.00, +0.00]"
    assert points(-0.01, (-0.02, -0.00001)) == "-1.00 [-2.00, -0.00]"
    assert points(None) == points(float("nan")) == ""


def test_means_come_first_then_what_is_no_noise_by_its_size() -> None:
    against = parts(REPORT)[0]
    assert against.heading == "against theirs|x.onnx, the same images"
    assert [row[0] for row in against.rows] == [
        "mean attribute accuracy",
        "calibration error",
        "exact match ratio",
        "Odd|Name accuracy",
        "Smiling AP",
    ]
    assert "2 of 4 differences are not noise; of two equal bundles hardly any" in against.notes[1]
    short = parts(REPORT, most=1)[0]
    assert [row[0] for row in short.rows[3:]] == ["Odd|Name accuracy"]
    assert "the largest 1 shown" in short.notes[1]


def test_it_is_said_over_which_attributes_bundles_are_compared() -> None:
    assert REPORT.against is not None
    assert "both predict" not in parts(REPORT)[0].notes[0]
    fewer = dataclasses.replace(REPORT.against, differences=(MEAN, BETTER, NOISE))
    notes = parts(dataclasses.replace(REPORT, against=fewer))[0].notes
    assert "over the 1 that both predict" in notes[0]


def test_gaps_are_by_size_with_those_of_few_images_last_and_marked() -> None:
    gaps = parts(REPORT)[2]
    assert gaps.rows == (gap_cells(GAP), gap_cells(SMALL))
    assert gap_cells(GAP) == (
        "Smiling",
        "not Young 80.00; Young 90.00",
        "10.00 [5.00, 15.00]",
        "1,200",
    )
    assert gap_cells(SMALL)[2:] == ("100.00", "2!")  # an interval of two images says nothing
    assert gaps.notes[0].startswith("warning: 1 attribute is shown by fewer than 30 images")
    assert "marked !" in gaps.notes[0]
    short = parts(REPORT, most=10)[2]
    assert [row[0] for row in short.rows] == ["Smiling"]
    assert short.notes[0] == "the largest 1 of 2 gaps"
    assert "left out here" in short.notes[1]
    unsure = parts(dataclasses.replace(REPORT, gaps=(SMALL,)), most=10)[2]
    assert [row[0] for row in unsure.rows] == ["Bald"]  # better than nothing
    third = SliceReport({"Young": True, "Male": True}, 70, 40, 0.8, 0.7)
    more = dataclasses.replace(REPORT, slices=(*REPORT.slices, third))
    assert "two extremes of 3 slices" in parts(more)[2].notes[0]


def test_the_worst_slice_is_named_and_small_ones_are_warned_of() -> None:
    assert parts(REPORT)[1].notes == (
        "lowest mean attribute accuracy: not Young, 74.00",
        "warning: fewer than 30 people say little: not Young (12)",
    )
    unnamed = tuple(dataclasses.replace(one, people=None) for one in REPORT.slices)
    report = dataclasses.replace(REPORT, people=None, slices=unnamed)
    assert len(parts(report)[1].notes) == 1  # 50 images are not few


def test_what_was_not_asked_for_is_not_there() -> None:
    assert parts(dataclasses.replace(REPORT, slices=(), gaps=(), against=None)) == []


def test_markdown_holds_all_of_it_in_tables_that_add_up() -> None:
    text = writers.render(REPORT, "markdown")
    assert "against theirs\\|x.onnx, the same images:" in text
    assert "| Odd\\|Name accuracy | 70.00 | 90.00 | -20.00 [-30.00, -10.00] | worse |" in text
    assert "| Bald | not Male 0.00; Male 100.00 | 100.00 | 2! |" in text
    assert "- warning: fewer than 30 people say little: not Young (12)" in text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 4
    for lines in blocks:
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_json_holds_all_of_it() -> None:
    values = json.loads(writers.render(REPORT, "json"))
    assert values["worst_slice"] == "not Young"
    assert values["gaps"][1] == {
        "attribute": "Smiling",
        "best": "Young",
        "worst": "not Young",
        "best_recall": 0.9,
        "worst_recall": 0.8,
        "gap": 0.1,
        "interval": [0.05, 0.15],
        "positives": 1200,
        "few": False,
    }
    assert len(values["against"]["differences"]) == 7
    assert values["against"]["differences"][-1]["ours"] is None
    assert values["attributes"][0]["curves"] is None


def test_csv_has_columns_for_differences_and_gaps_where_there_are_any() -> None:
    smiling, odd, mean = csv.DictReader(io.StringIO(writers.render(REPORT, "csv")))
    assert smiling["average_precision_against"] == "0.8"
    assert smiling["average_precision_difference"] == "0.1"
    assert smiling["average_precision_difference_low"] == "0.05"
    assert (smiling["recall_gap"], smiling["recall_gap_high"]) == ("0.1", "0.15")
    assert (smiling["recall_worst"], smiling["recall_gap_few"]) == ("not Young", "False")
    assert (odd["average_precision_difference"], odd["recall_gap"]) == ("", "")
    assert odd["accuracy_difference"] == "-0.2"
    assert mean["accuracy_difference"] == "-0.1"
    assert mean["expected_calibration_error_difference"] == "-0.02"
    assert mean["recall_gap"] == ""
    plain = dataclasses.replace(REPORT, gaps=(), against=None)
    header = writers.render(plain, "csv").splitlines()[0]
    assert not any(word in header for word in ("difference", "gap", "against"))
