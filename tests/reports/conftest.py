"""An evaluation with every part, and one without any, made by hand; and their pages."""

from __future__ import annotations

import io
from typing import Any

import pytest
import samples
from PIL import Image

from celebattr.attributes import CELEBA
from celebattr.diagnosis.labels import report as writers
from celebattr.diagnosis.labels.report import LabelEstimate, LabelReport, Suspect
from celebattr.evaluation import html as evaluation_html
from celebattr.evaluation.report import (
    AttributeCurves,
    AttributeReport,
    Comparison,
    CorruptionReport,
    Difference,
    EvalReport,
    Example,
    GapReport,
    LogicReport,
    PointingReport,
    PublishedReport,
    ReliabilityBin,
    RuleReport,
    SliceReport,
    ThresholdRow,
)
from celebattr.reports.formatting import Made
from celebattr.training import html as training_html

MADE = Made("2026-01-02 03:04 UTC", ["celebattr 0.1.0", "Python 3.11.7"], "my-faces")

CARD: dict[str, Any] = {
    "name": "tiny",
    "arch": "resnet18",
    "precision": "int8",
    "attributes": list(CELEBA),
    "preprocess": {"size": [128, 104]},
    "calibrated_on": "validation",
    "unsure_below": 0.7,
    "created": "2026-01-02T03:04:05+00:00",
    "versions": {"torch": "2.13.0"},
    "trained_on": {"data": "celeba <b>bold</b>", "images": 17_256, "terms": "non-commercial"},
    "metrics": {
        "test": {
            "images": 1_000,
            "mean_attribute_accuracy": 0.9,
            "intervals": {"mean_attribute_accuracy": [0.89, 0.91]},
        }
    },
}

BINS = tuple(ReliabilityBin(k / 10, (k + 1) / 10, 40, k / 10 + 0.05, k / 9) for k in range(10))


def curves(k: int) -> AttributeCurves:
    steps = [i / 99 for i in range(100)]
    return AttributeCurves(
        BINS,
        tuple((x, x ** (1 / (k + 2))) for x in steps),
        tuple((x, 1 - x ** (k + 1) / 2) for x in steps),
        tuple(
            ThresholdRow(i / 20, 0.9, None if i > 18 else i / 20, 1 - i / 20, 0.5)
            for i in range(1, 20)
        ),
    )


def attribute(k: int, name: str, with_curves: bool) -> AttributeReport:
    accuracy = 0.75 + ((k * 7) % 40) / 200  # not in the order of the names
    return AttributeReport(
        name,
        positives=10 * k,
        accuracy=accuracy,
        majority_accuracy=0.7,
        balanced_accuracy=0.7 if k else None,
        f1=0.6 if k else None,
        average_precision=0.5 + k / 100 if k else None,
        roc_auc=0.9 if k else None,
        expected_calibration_error=0.02,
        brier_score=0.06,
        intervals={
            "accuracy": (accuracy - 0.02, accuracy + 0.02),
            "average_precision": (0.4, 0.9) if k else None,
        },
        curves=curves(k) if with_curves and k % 7 == 3 else None,
    )


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (110, 134), (90, 120, 150)).save(file, "JPEG")
    return file.getvalue()


def report(full: bool = True, **changes: Any) -> EvalReport:
    """All parts, or those that are always there."""
    values: dict[str, Any] = {
        "images": 400,
        "weights": "tiny <i>.onnx",
        "mean_attribute_accuracy": 0.9123,
        "mean_expected_calibration_error": 0.0123,
        "attributes": tuple(attribute(k, name, full) for k, name in enumerate(CELEBA)),
        "intervals": {"mean_attribute_accuracy": (0.9, 0.92)},
    }
    if full:
        values |= parts()
    return samples.report(**values | changes)


def parts() -> dict[str, Any]:
    pair = "Male, Young", "not Male, not Young"
    bounds = {"mean_attribute_accuracy": (0.88, 0.9), "mean_average_precision": None}
    return {
        "people": 120,
        "unsure_share": 0.1,
        "accuracy_where_sure": 0.95,
        "accuracy_where_unsure": 0.6,
        "images_per_second": 61.5,
        "measured_in": "int8",
        "reliability": BINS,
        "slices": (
            SliceReport({"Male": True}, 300, 90, 0.89, 0.7, bounds),
            SliceReport({"Male": False}, 20, 10, None, None),
        ),
        "gaps": (
            GapReport("Smiling", *pair, 0.9, 0.8, 0.1, (-0.02, 0.2), 50, False),
            GapReport("Bald", *pair, 1.0, 0.2, 0.8, None, 3, True),
        ),
        "against": Comparison(
            "other.onnx",
            (
                Difference("mean_attribute_accuracy", None, 0.91, 0.9, (0.001, 0.02), False),
                Difference("accuracy", "Smiling", 0.9, 0.93, (-0.05, -0.01), False),
                Difference("accuracy", "Bald", 0.9, 0.9, (-0.01, 0.01), True),
                Difference("average_precision", "Bald", None, 0.9, None, True),
            ),
        ),
        "logic": LogicReport(
            (RuleReport("No_Beard with Goatee", 0.012, 0.003),), 0.03, 0.02, 0.91, -0.001, None
        ),
        "corruptions": (
            CorruptionReport("jpeg", "quality 10", 0.88, 0.66, -0.03, (-0.04, -0.02)),
            CorruptionReport("blur", "8 px", 0.85, None, -0.06, None),
        ),
        "published": (
            PublishedReport("LNets+ANet", 2015, 0.87, 40, "Liu et al., ICCV 2015", "its own crops"),
        ),
        "pointing": (PointingReport("Smiling", "mouth", 50, 0.8, 1.0, 0.05),),
        "examples": (
            Example(
                "000001.jpg", "hardest", (("Smiling", True, 0.01), ("Bald", False, 0.9)), jpeg()
            ),
            Example("000002.jpg", "most surely wrong", (("Bald", True, 0.001),), None),
        ),
    }


def history(epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": k + 1,
            "step": 100 * (k + 1),
            "image_size": "64x48",
            "train_loss": 0.5 / (k + 1),
            "validation_loss": 0.6 / (k + 1),
            "validation_mean_attribute_accuracy": 0.8 + k / 100,
            "validation_mean_average_precision": 0.6 + (k % 3) / 100 if k else None,
            "lr": 0.0003 / (k + 1),
            "images_per_second": 812.5,
            "seconds": 12.0,
        }
        for k in range(epochs)
    ]


@pytest.fixture(scope="session")
def full_report() -> EvalReport:
    """With every part."""
    return report()


@pytest.fixture(scope="session")
def full_page(full_report: EvalReport) -> str:
    """Its page."""
    return evaluation_html.page(full_report, CARD, MADE)


@pytest.fixture(scope="session")
def bare_page() -> str:
    """Of what is always measured, and nothing else."""
    return evaluation_html.page(report(full=False), CARD, MADE)


@pytest.fixture(scope="session")
def training_page(full_report: EvalReport) -> str:
    """Of a run that is done."""
    return training_html.page(
        history(4),
        name="run <1>",
        epochs=4,
        done=True,
        recipe={"arch": "resnet50", "lr": None, "freeze_backbone": False, "teacher": []},
        device="CPU, 2 cores",
        made=MADE,
        examples=full_report.examples,
    )


@pytest.fixture(scope="session")
def label_report() -> LabelReport:
    """Three attributes; of one a suspect is seen, of one too, of one there is none."""
    evil, odd = "\"><script>alert('x')</script>&.jpg", 'Rosy <Cheeks> & "co"'

    def suspect(image: str, attribute: str, rank: int, **changes: Any) -> Suspect:
        values = {"reasons": ("the network",), "jpeg": jpeg()} | changes
        return Suspect(image, "test", attribute, True, 0.001, 0.999, rank, **values)

    return LabelReport(
        data=evil,
        source="some.onnx",
        images={"test": 10},
        people=3,
        estimates=tuple(
            LabelEstimate(name, "test", 10, 5, 0.2, (0.0, 0.4), 0.1, 0.1, 2)
            for name in ("Smiling", odd, "Young")
        ),
        suspects=(
            suspect(evil, "Smiling", 1),
            suspect("b.jpg", odd, 1, reasons=("contradicts <No_Beard>",)),
            suspect("unseen.jpg", "Smiling", 2, jpeg=None),
        ),
        contradictions={},
        duplicates=None,
        notes=("Mind <this>.",),
    )


@pytest.fixture(scope="session")
def labels_page(label_report: LabelReport) -> str:
    """Its page."""
    return writers.page(label_report, MADE)
