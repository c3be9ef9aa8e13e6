"""Figures of an evaluation, written into the card of the bundle they are about."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from celebattr.evaluation.report import EvalReport
from celebattr.evaluation.writers import to_json
from celebattr.models import bundle


def record(path: Path, report: EvalReport) -> None:
    """Writes a report into a bundle's card, in place of what it said of that split.

    Args:
        path: the bundle.
        report: of that bundle.

    Raises:
        WeightsError: the bundle is damaged.
    """
    values = json.loads(to_json(report))
    for name in (
        "schema",
        "split",
        "weights",
        "images_per_second",
        "reliability",
        "against",
        "published",
    ):
        del values[name]
    for row in values["attributes"]:
        # What the card shows of an attribute; `celebattr evaluate` gives the rest.
        for name in ("balanced_accuracy", "f1", "roc_auc", "expected_calibration_error", "curves"):
            del row[name]
        row["intervals"] = {n: row["intervals"][n] for n in ("accuracy", "average_precision")}
    card = bundle.card_of(path)
    metrics = {k: v for k, v in card.metrics.items() if k != report.split}
    metrics[report.split] = values
    bundle.rewrite(path, dataclasses.replace(card, metrics=metrics))
