from __future__ import annotations

import csv
import dataclasses
import io
import json

from celebattr.diagnosis.labels import report as writers
from celebattr.diagnosis.labels.report import LabelEstimate, LabelReport, Suspect

ODD = '=1+1,"<b>\n.jpg'

REPORT = LabelReport(
    data="faces (own CSV)",
    source="some.onnx",
    images={"train": 100, "test": 50},
    people=None,
    estimates=(
        LabelEstimate("Smiling", "train", 100, 40, 0.05, (0.02, 0.09), 0.03, 0.02, 2),
        LabelEstimate("Smiling", "test", 50, 0, None, None, None, None, 0),
    ),
    suspects=(
        Suspect(ODD, "train", "Smiling", True, 0.0123456789, 0.9876543211, 1, ("the network",)),
        Suspect(
            "b.jpg",
            "test",
            "Smiling",
            False,
            0.75,
            0.75,
            2,
            ("the network", "contradicts no Happy"),
            b"\xff\xd8picture",
        ),
    ),
    contradictions={"No_Beard with Goatee": 3, "Bald with Bangs": 1},
    duplicates=2,
    notes=("A note.",),
)


def test_csv_has_a_row_a_suspect_and_names_survive() -> None:
    rows = list(csv.DictReader(io.StringIO(writers.to_csv(REPORT))))
    assert tuple(rows[0]) == writers.COLUMNS
    assert [row["image"] for row in rows] == [ODD, "b.jpg"]
    assert rows[0]["probability"] == "0.012346"
    assert [row["label"] for row in rows] == ["1", "0"]
    assert rows[1]["reasons"] == "the network;contradicts no Happy"


def test_json_holds_everything_but_the_pictures_and_null_where_undefined() -> None:
    values = json.loads(writers.to_json(REPORT))
    assert values["schema"] == 1
    assert values["estimates"][0]["interval"] == [0.02, 0.09]
    assert values["estimates"][1]["error_rate"] is None
    assert values["suspects"][1]["reasons"] == ["the network", "contradicts no Happy"]
    assert "jpeg" not in values["suspects"][1]
    assert values["contradictions"]["Bald with Bangs"] == 1


def test_the_headline_says_what_was_looked_at() -> None:
    pairs = dict(writers.headline(REPORT))
    assert pairs["images"] == "100 train, 50 test"
    assert pairs["suspects"] == "2 of 150 labels (1.33 %)"
    assert pairs["contradictions"] == "4, most often No_Beard with Goatee (3)"
    assert pairs["copies"].startswith("2 times the same picture")


def test_the_table_has_a_row_an_attribute_and_a_column_a_split() -> None:
    assert writers.table(REPORT) == (
        ["attribute", "train", "test", "suspects"],
        [["Smiling", "5.00 [2.00, 9.00]", "-", "2"]],
    )
    assert writers.table(REPORT, intervals=False)[1] == [["Smiling", "5.00", "-", "2"]]
    one = dataclasses.replace(REPORT, images={"train": 100}, estimates=REPORT.estimates[:1])
    assert writers.table(one)[0] == ["attribute", "error rate", "suspects"]
