"""`celebattr info`."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from celebattr.cli.options import format_option, known_format
from celebattr.errors import counted
from celebattr.reports.formatting import versions

if TYPE_CHECKING:
    from celebattr.models.card import Card

RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
"""Builds of onnxruntime, which lie in the same folder."""

FORMATS = ("text", "json", "markdown")


def info(
    weights: Annotated[str | None, typer.Argument(help="A bundle, to show its card.")] = None,
    format: Annotated[str | None, format_option(FORMATS, "text, or markdown in a pipe")] = None,
) -> None:
    """Show the device that would be used, versions and installed bundles, or a bundle's card.

    Examples:
        $ celebattr info
        $ celebattr info runs/first --format markdown
    """
    from celebattr.models import bundle
    from celebattr.models.weights import bundle_file, shipped_bundles

    if weights is not None:
        _card(bundle.card_of(bundle_file(weights)), format)
        return
    own, python, *others = versions()
    typer.echo(f"{own.replace(' ', '  ')}, {python}")
    typer.echo(f"device     {_device()}")
    typer.echo(f"versions   {', '.join(others)}")
    runtimes = [name for name in RUNTIMES if _installed(name)]
    if len(runtimes) > 1:
        typer.echo(
            f"warning    {' and '.join(runtimes)} overwrite each other: uninstall all, then "
            "install one"
        )
    for path in shipped_bundles():
        card = bundle.card_of(path)
        typer.echo(f"bundle     {path.stem}: {_summary(card)}")
        typer.echo(f"           {path}")


def _installed(package: str) -> bool:
    return bool(list(importlib.metadata.distributions(name=package)))


def _card(card: Card, format: str | None) -> None:
    """Print a model card."""
    known_format(format, FORMATS)
    format = format or ("text" if sys.stdout.isatty() else "markdown")
    if format == "json":
        typer.echo(card.to_json())
        return
    from celebattr.evaluation.model_card import markdown

    text = markdown(json.loads(card.to_json()))
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    if format == "markdown" or console.options.ascii_only:  # which lacks its bullets
        typer.echo(text, nl=False)
    else:
        console.print(Markdown(text))


def _device() -> str:
    from celebattr.errors import DeviceError
    from celebattr.models.device import resolve

    try:
        return resolve("auto", "auto").reason
    except DeviceError:
        return "CPU through onnxruntime (torch is not installed)"


def _summary(card: Card) -> str:
    size = card.preprocess["size"]
    parts = [
        f"{card.arch}, {card.precision}, {counted(len(card.attributes), 'attribute')}, "
        f"input {size[0]}x{size[1]}"
    ]
    for split, values in card.metrics.items():
        accuracy = values.get("mean_attribute_accuracy")
        if accuracy is not None:
            parts.append(
                f"{split}: mean attribute accuracy {100 * accuracy:.2f} % "
                f"(n = {values['images']:,}, measured in {values.get('measured_in', '?')})"
            )
    terms = card.trained_on.get("terms")
    return "; ".join(parts + ([terms] if terms else []))
