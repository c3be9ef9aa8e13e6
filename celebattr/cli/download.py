"""`celebattr download`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.options import progress_bar


def download(
    to: Annotated[
        Path,
        typer.Option("--to", metavar="DIR", help="Folder to write to.", rich_help_panel="Output"),
    ],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="NAME",
            help="Where to get it: huggingface, kaggle or drive.",
            rich_help_panel="Data",
        ),
    ] = "huggingface",
    accept_terms: Annotated[
        bool,
        typer.Option(
            "--accept-terms",
            metavar="",
            help="Accept CelebA's terms: non-commercial research and education.",
            rich_help_panel="Data",
        ),
    ] = False,
) -> None:
    """Download CelebA, some 1.4 GB, for --data.

    Run it again to continue after an interruption. Files are checked against their known sums.

    Examples:
        $ celebattr download --to celeba/ --accept-terms
        $ celebattr download --from kaggle --to celeba/ --accept-terms
    """
    from celebattr.data.download import download as run

    with progress_bar("downloading") as show:
        typer.echo(run(to, source, accept_terms=accept_terms, on_progress=show))
