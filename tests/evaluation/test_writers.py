from __future__ import annotations

import csv
import io
import json
import math

import pytest
from samples import report

from celebattr.errors import UsageError
from celebattr.evaluation import writers
from celebattr.evaluation.report import AttributeReport

REPORT = report(
    mean_roc_auc=math.nan,
    mean_expected_calibration_error=0.0123456789,
    attributes=(
        AttributeReport("Smiling", 100, 0.93, 0.5, 0.93, 0.93, 0.97, 0.98, 0.01, 0.05),
        AttributeReport("Odd|Name", 0, 1.0, 1.0, None, None, None, None, 0.0, 0.0),
    ),
)


def test_json_holds_everything_and_null_where_undefined() -> None:
    values = json.loads(writers.render(REPORT, "json"))
    assert values["schema"] == 1
    assert values["mean_attribute_accuracy"] == 0.91
    assert values["mean_f1"] is None
    assert values["mean_roc_auc"] is None
    assert values["images_per_second"] is None
    assert values["attributes"][1]["average_precision"] is None
    assert values["attributes"][0]["attribute"] == "Smiling"


def test_csv_has_a_row_an_attribute_and_one_of_means() -> None:
    rows = list(csv.DictReader(io.StringIO(writers.render(REPORT, "csv"))))
    assert [row["attribute"] for row in rows] == ["Smiling", "Odd|Name", "mean"]
    assert rows[0]["roc_auc"] == "0.98"
    assert rows[1]["f1"] == ""
    assert rows[2]["accuracy"] == "0.91"
    assert rows[2]["roc_auc"] == rows[2]["positives"] == ""
    assert rows[2]["expected_calibration_error"] == "0.012346"


def test_markdown_is_a_table_in_percent() -> None:
    text = writers.render(REPORT, "markdown")
    assert "- mean attribute accuracy: 91.00 %, floor 80.00" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "| Smiling | 100 | 93.00 | 50.00 |" in text
    assert "| Odd\\|Name | 0 | 100.00 | 100.00 |  |" in text


def test_the_suffix_tells_the_format() -> None:
    assert writers.format_of("a/report.md") == "markdown"
    with pytest.raises(UsageError, match=r"\.jsn.*Did you mean \.json"):
        writers.format_of("report.jsn")


def test_an_unknown_format_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean markdown"):
        writers.render(REPORT, "markdwn")
