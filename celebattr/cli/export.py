"""`celebattr export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import Overwrite, data_sets
from celebattr.cli.streams import say


def export(
    weights: Annotated[
        str, typer.Argument(help="A safetensors bundle: a file, a run folder or a name.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write.",
            show_default="beside the bundle",
            rich_help_panel="Output",
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", metavar="", help="Quantise to int8 (needs --data).", rich_help_panel="int8"
        ),
    ] = False,
    half: Annotated[
        bool,
        typer.Option(
            "--half",
            metavar="",
            help="Store and compute in half precision, for GPUs.",
            rich_help_panel="Output",
        ),
    ] = False,
    hub: Annotated[
        Path | None,
        typer.Option(
            "--hub",
            metavar="DIR",
            help="Write a folder for Hugging Face's hub instead.",
            rich_help_panel="Output",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DIR|URL",
            help="Data set to calibrate on (repeatable).",
            show_default="$CELEBATTR_DATA",
            rich_help_panel="int8",
        ),
    ] = None,
    images: Annotated[
        int,
        typer.Option(
            "--calibration-images",
            metavar="N",
            min=1,
            help="Validation images to calibrate on.",
            rich_help_panel="int8",
        ),
    ] = 256,
    seal: Annotated[
        bool,
        typer.Option(
            "--seal",
            metavar="",
            help="Seal an ONNX bundle that an optimiser rewrote.",
            rich_help_panel="Output",
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a bundle as ONNX, for onnxruntime without torch.

    Examples:
        $ celebattr export runs/first
        $ celebattr export runs/first --int8 --data celeba/
        $ celebattr export celebattr-resnet50 --half --output half.onnx
        $ celebattr export --seal simplified.onnx
    """
    from celebattr import api
    from celebattr.models.bundle import card_of

    target = api.export(
        weights,
        output,
        int8=int8,
        half=half,
        hub=hub,
        data=data_sets(data) if int8 else (),
        calibration_images=images,
        seal=seal,
        overwrite=overwrite,
    )
    if hub is None:
        size = target.stat().st_size / 1e6
        say(f"{target}  {card_of(target).precision}, {size:.1f} MB")
    typer.echo(target)
