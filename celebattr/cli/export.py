"""`celebattr export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import data_sets
from celebattr.errors import UsageError


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
    from celebattr.data.layouts.load import load_dataset
    from celebattr.inference.export import export as run
    from celebattr.weights import bundle_file

    source = bundle_file(weights)
    calibration = None
    if int8:
        folders = data_sets(data)
        if not folders:
            raise UsageError("--int8 needs images: give --data DIR or set CELEBATTR_DATA")
        calibration = load_dataset(folders).split("validation", images)
    target = output or source.with_name(f"{source.stem}{'-int8' if int8 else ''}.onnx")
    card = run(source, target, calibration=calibration)
    typer.echo(f"{target}  {card.precision}, {target.stat().st_size / 1e6:.1f} MB", err=True)
    typer.echo(target)
