"""`celebattr export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import data_sets


def export(
    weights: Annotated[
        str, typer.Argument(help="A safetensors bundle: a path, a run folder, or a name.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write.",
            show_default="beside the bundle, ending in .onnx",
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="int8 weights and activations; needs --data.")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DIR|URL",
            help="Data set whose validation images set the int8 ranges. Without it, what "
            "CELEBATTR_DATA names.",
        ),
    ] = None,
    images: Annotated[
        int, typer.Option("--calibration-images", min=1, help="How many of them.")
    ] = 256,
) -> None:
    """Write a bundle as ONNX, with its card inside: for onnxruntime, without torch."""
    from celebattr import api
    from celebattr.models.bundle import card_of

    target = api.export(
        weights, output, int8=int8, data=data_sets(data) if int8 else (), calibration_images=images
    )
    size = target.stat().st_size / 1e6
    typer.echo(f"{target}  {card_of(target).precision}, {size:.1f} MB", err=True)
    typer.echo(target)
