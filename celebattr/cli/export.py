"""`celebattr export`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from celebattr.cli.options import command
from celebattr.cli.streams import say
from celebattr.inference.config import ExportConfig


@command("Output")
def export(
    weights: Annotated[
        str, typer.Argument(help="A safetensors bundle: a file, a run folder or a name.")
    ],
    *,
    config: ExportConfig,
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

    given = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    target = api.export(weights, **given)
    if config.hub is None:
        say(f"{target}  {card_of(target).precision}, {target.stat().st_size / 1e6:.1f} MB")
    typer.echo(target)
