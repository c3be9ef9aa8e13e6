"""The model card: a bundle's card as Markdown, and the figures of an evaluation written into it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from celebattr.attributes import REPEATED, SENSITIVE, SUBJECTIVE, reliability
from celebattr.errors import WeightsError, counted, escaped, printable, reason
from celebattr.evaluation.report import EvalReport, GapReport, SliceReport
from celebattr.evaluation.tables import TITLES, gap_cells, slice_cells
from celebattr.evaluation.writers import to_json
from celebattr.io.files import reporting, write_bytes, write_text
from celebattr.models import bundle, weights
from celebattr.reports.formatting import between, percent

_GAPS = 10

LIMITS = f"""\
The labels are what annotators thought of photos of celebrities. Some are taste
({", ".join(sorted(SUBJECTIVE))}),
some are sensitive ({", ".join(SENSITIVE)}), many are noisy: annotators often judged a person rather
than a photo. The people shown are young, made up and well lit; expect larger errors for others.

- Do not use it to identify, rank, admit, hire, price, watch or judge anybody.
- Do not read Male as gender, Young as age, or Pale_Skin as origin: they are labels of pictures.
- Do not act on a single prediction; those reported as unsure are wrong most often."""


def markdown(card: Mapping[str, Any]) -> str:
    """Return the card, given as the plain values of its JSON, as Markdown.

    Raises:
        WeightsError: what is free in a card is not as this program writes it.
    """
    try:
        return escaped(_markdown(card))
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        name = printable(card["name"])
        raise WeightsError(f"the card of {name} cannot be shown: {reason(error)}") from error


def _markdown(card: Mapping[str, Any]) -> str:
    size = card["preprocess"]["size"]
    trained = card["trained_on"]
    lines = [
        f"# {card['name']}",
        "",
        f"{card['arch']}, {card['precision']}, "
        f"{counted(len(card['attributes']), 'attribute')}, input {size[0]}x{size[1]} pixels of a "
        "face in CelebA's aligned 178x218 crop.",
        "",
        "## Trained on",
        "",
        *_lineage(trained),
        f"- Terms: {trained.get('terms', 'not stated')}",
        f"- Calibrated on {card['calibrated_on']}, with the attributes' scales; unsure below "
        f"{card['unsure_below']:g}",
        f"- Made {card['created'] or 'at an unknown time'} with "
        + ", ".join(f"{name} {version}" for name, version in card["versions"].items()),
        "",
        "## How good it is",
        "",
        *_figures(card["metrics"]),
        *_slices(card["metrics"]),
        *_gaps(card["metrics"]),
        *_attributes(card["metrics"]),
        "## What it is not for",
        "",
        LIMITS,
    ]
    return "\n".join(lines) + "\n"


def _lineage(trained: Mapping[str, Any]) -> list[str]:
    """Describe the data and the starting weights, as far back as is known."""
    lines = [f"- {_data(trained)}"]
    start = trained.get("started_from")
    while isinstance(start, Mapping):
        lines.append(f"- before that: {_data(start)}")
        start = start.get("started_from")
    if start:
        lines.append(f"- started from {start}")
    return lines


def _data(trained: Mapping[str, Any]) -> str:
    return f"{trained.get('data', 'not stated')}: {counted(trained.get('images', 0), 'image')}"


_COLUMNS = (
    "mean_attribute_accuracy",
    "majority_accuracy",
    "mean_average_precision",
    "mean_balanced_accuracy",
    "mean_f1",
    "mean_expected_calibration_error",
)


def _figures(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics:
        return ["Not measured.", ""]
    titles = ["split", "images", *(TITLES[name] for name in _COLUMNS)]
    lines = [f"| {' | '.join(titles)} |", "| --- |" + " ---: |" * (len(titles) - 1)]
    for split, values in metrics.items():
        bounds = values.get("intervals", {})
        cells = [percent(values.get(name)) + between(bounds.get(name)) for name in _COLUMNS]
        lines.append(f"| {split} | {values['images']:,} | {' | '.join(cells)} |")
    return [*lines, "", "In percent, with 95 % intervals over people in brackets.", ""]


def _slices(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    for split, values in metrics.items():
        for one in values.get("slices", ()):
            part = SliceReport(**{"mean_average_precision": None, **one})  # old cards lack it
            lines.append(f"| {split}: {' | '.join(slice_cells(part)[:4])} |")
    head = ["| by label | images | people | accuracy |", "| --- | ---: | ---: | ---: |"]
    return [*head, *lines, ""] if lines else []


def _gaps(metrics: Mapping[str, Any]) -> list[str]:
    """Return the largest gaps in recall between large enough groups, of the last split."""
    measured = [(split, v["gaps"]) for split, v in metrics.items() if v.get("gaps")]
    if not measured:
        return []
    split, rows = measured[-1]
    gaps = [GapReport(**row) for row in rows if not row["few"]]
    gaps.sort(key=lambda one: -one.gap)
    lines = [f"| {' | '.join(gap_cells(one))} |" for one in gaps[:_GAPS]]
    return [
        f"| {split} | lowest and highest recall by label | gap | positives |",
        "| --- | --- | ---: | ---: |",
        *lines,
        "",
        f"The largest {len(lines)} of {len(gaps)} gaps: of the images that show an attribute, the "
        "share in which it is found. Positives are those of the smaller group.",
        "",
    ]


def _attributes(metrics: Mapping[str, Any]) -> list[str]:
    """Return a row per attribute, of the last split that has them: test after validation."""
    measured = [(split, v["attributes"]) for split, v in metrics.items() if v.get("attributes")]
    if not measured:
        return []
    split, rows = measured[-1]
    lines = [
        f"| {split} | positives | majority baseline | accuracy | AP | labels alike |",
        "| --- |" + " ---: |" * 5,
    ]
    for row in rows:
        bounds = row["intervals"]
        cells = [percent(row["majority_accuracy"])]
        cells += [
            percent(row[name]) + between(bounds.get(name))
            for name in ("accuracy", "average_precision")
        ]
        alike = reliability(row["attribute"])
        cells.append("" if alike is None else f"{100 * alike:.0f}")  # n = 359: no decimals
        lines.append(f"| {row['attribute']} | {row['positives']:,} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"Labels alike: of {REPEATED} pictures that CelebA holds and labels twice, those with the "
        "same label both times, in percent.",
        "",
    ]


def hub_folder(path: Path, folder: Path) -> Path:
    """Write a folder that can be uploaded to Hugging Face's hub: a bundle, and its card as README.

    Args:
        path: the bundle.
        folder: made if missing; its files of these names are replaced.

    Returns:
        The folder.

    Raises:
        WeightsError: the bundle is damaged.
        DataError: the folder cannot be written.
    """
    card = bundle.card_of(path)
    name = f"{weights.HUB_NAME}{path.suffix}"
    terms = str(card.trained_on.get("terms", "not stated"))
    about = {
        "license": "other",
        "license_name": "see-card",
        "library_name": "celebattr",
        "pipeline_tag": "image-classification",
        "tags": ["face-attributes", "multi-label", *(["celeba"] if "CelebA" in terms else [])],
    }
    # JSON is YAML, and needs no library.
    front = "\n".join(f"{key}: {json.dumps(value)}" for key, value in about.items())
    use = (
        f"    pip install 'celebattr[hub]'\n    celebattr predict photo.jpg --weights {weights.HUB}"
    )
    text = (
        f"---\n{front}\n---\n\n{markdown(json.loads(card.to_json()))}\n## Use\n\n{use}OWNER/NAME\n"
    )
    with reporting(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / name, path.read_bytes())
    write_text(folder / "README.md", text)
    return folder


def record(path: Path, report: EvalReport) -> None:
    """Write a report into a bundle's card, replacing its figures of that split.

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
