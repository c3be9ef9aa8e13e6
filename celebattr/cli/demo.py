"""`celebattr demo`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.tables import Tables
from celebattr.constants import DEMO_PHOTO
from celebattr.errors import DataError


def demo(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder to write to.", rich_help_panel="Output"
        ),
    ] = Path("demo"),
) -> None:
    """Predict a photograph that comes with celebattr: try an installation.

    Writes the photograph, NASA's portrait of the astronaut Eileen Collins, and an annotated copy.

    Examples:
        $ celebattr demo
    """
    from celebattr import load
    from celebattr.images.open import open_image
    from celebattr.inference.draw.annotate import annotate, save

    photo, drawn = output / DEMO_PHOTO.name, output / "annotated.jpg"
    try:
        output.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DEMO_PHOTO, photo)
    except OSError as error:
        raise DataError(f"cannot write {photo}: {error.strerror}. Give --output DIR") from error
    predictions = [face.prediction for face in load()(photo)]
    with Tables() as tables:
        tables.write(predictions)
    save(annotate(open_image(photo), predictions), drawn)
    typer.echo(f"Drawn on a copy: {drawn}. Next: celebattr predict photo.jpg")
