"""`celebattr align`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import Overwrite
from celebattr.cli.streams import say
from celebattr.errors import ExitCode, UsageError, counted
from celebattr.predictions import NO_FACE


def align(
    photos: Annotated[
        list[str],
        typer.Argument(metavar="PHOTO", help="Photos, folders, globs, archives or lists."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder to write to.", rich_help_panel="Output"
        ),
    ] = None,
    faces: Annotated[
        str,
        typer.Option(
            "--faces",
            metavar="FACES",
            help="Faces of a photo: largest or all.",
            rich_help_panel="Output",
        ),
    ] = "largest",
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            help="Threads that open photos.",
            min=1,
            rich_help_panel="Output",
        ),
    ] = 2,
    overwrite: Overwrite = False,
) -> None:
    """Write the faces of photos as aligned crops of 178x218 pixels.

    crops.csv beside them tells the photo, box and score of each, and of photos without one why.

    Examples:
        $ celebattr align photos/ --output crops/
        $ celebattr align group.jpg --faces all --output crops/
    """
    if output is None:
        raise UsageError("give --output DIR")
    from celebattr.inference.crops import align as run

    counts = run(photos, output, faces=faces, workers=workers, overwrite=overwrite)
    crops = counts.pop("crops", 0)
    told = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    say(f"{counted(crops, 'crop')} of {counted(sum(counts.values()), 'photo')} ({told})")
    typer.echo(output)
    if set(counts) - {"ok", NO_FACE}:
        raise typer.Exit(ExitCode.SOME_FAILED)
