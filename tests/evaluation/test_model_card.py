from __future__ import annotations

from typing import Any

from celebattr.evaluation.model_card import markdown

CARD: dict[str, Any] = {
    "name": "tiny",
    "arch": "resnet18",
    "precision": "int8",
    "attributes": ["Smiling"],
    "preprocess": {"size": [128, 104]},
    "calibrated_on": "validation",
    "unsure_below": 0.7,
    "created": "2026-01-02T03:04:05+00:00",
    "versions": {"torch": "2.13.0"},
    "trained_on": {
        "data": "celeba",
        "images": 17_256,
        "terms": "non-commercial",
        "started_from": {"data": "celeba64", "images": 40_126, "started_from": "imagenet"},
    },
    "metrics": {},
}
MEASURED: dict[str, Any] = {
    "images": 100,
    "mean_attribute_accuracy": 0.9,
    "majority_accuracy": 0.8,
    "mean_average_precision": None,
    "intervals": {"mean_attribute_accuracy": [0.88, 0.92], "mean_average_precision": None},
    "slices": [
        {
            "slice": {"Male": True, "Young": False},
            "images": 10,
            "people": 4,
            "mean_attribute_accuracy": 0.85,
            "intervals": {"mean_attribute_accuracy": [0.8, 0.9]},
        }
    ],
    "gaps": [
        {
            "attribute": name,
            "best": "Male",
            "worst": "not Male",
            "best_recall": 0.1 + gap,
            "worst_recall": 0.1,
            "gap": gap,
            "interval": [gap - 0.1, gap + 0.1],
            "positives": 40,
            "few": few,
        }
        for name, gap, few in (("Bald", 0.2, False), ("Bangs", 0.5, False), ("Blurry", 0.8, True))
    ],
    "attributes": [
        {
            "attribute": "Smiling",
            "positives": 48,
            "accuracy": 0.91,
            "majority_accuracy": 0.52,
            "average_precision": 0.97,
            "intervals": {"accuracy": [0.9, 0.93], "average_precision": [0.95, 0.99]},
        }
    ],
}


def test_a_card_tells_where_the_weights_come_from_and_under_which_terms() -> None:
    text = markdown(CARD)
    assert text.startswith("# tiny\n")
    assert "- celeba: 17,256 images\n- before that: celeba64: 40,126 images\n" in text
    assert "- started from imagenet\n- Terms: non-commercial\n" in text
    assert "Not measured." in text
    assert "do not read male as gender" in text.lower()


def test_a_card_shows_figures_with_intervals_groups_and_attributes() -> None:
    text = markdown({**CARD, "metrics": {"validation": {"images": 3}, "test": MEASURED}})
    assert "| test | 100 | 90.00 [88.00, 92.00] | 80.00 |  |" in text
    assert "| test: Male, not Young | 10 | 4 | 85.00 [80.00, 90.00] |" in text
    assert "| Smiling | 48 | 52.00 | 91.00 [90.00, 93.00] | 97.00 [95.00, 99.00] | 98 |" in text
    assert "Labels alike: of 359 pictures" in text


def test_a_card_shows_the_largest_gaps_between_groups_first_and_none_of_few_images() -> None:
    text = markdown({**CARD, "metrics": {"test": MEASURED}})
    first = "| Bangs | not Male 10.00; Male 60.00 | 50.00 [40.00, 60.00] | 40 |"
    second = "| Bald | not Male 10.00; Male 30.00 | 20.00 [10.00, 30.00] | 40 |"
    assert f"{first}\n{second}\n\nThe largest 2 of 2 gaps" in text
    assert "Blurry" not in text
    assert "gap" not in markdown({**CARD, "metrics": {"test": {"images": 3}}})
