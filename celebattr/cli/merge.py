"""`celebattr merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celebattr.cli.streams import say
from celebattr.errors import UsageError, counted


def merge(
    parts: Annotated[
        list[Path],
        typer.Argument(
            metavar="PART",
            help="Outputs of all shards, in any order, or their folder; or the folder that "
            "--engine ray wrote.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write.", rich_help_panel="Output"
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", metavar="", help="Replace what exists.", rich_help_panel="Output"
        ),
    ] = False,
) -> None:
    """Join the outputs of `predict --shard` into one, in the order of the inputs.

    Checks that every shard is there, once, complete, unchanged, and of the same run.

    Examples:
        $ celebattr merge part*.csv --output rows.csv
    """
    if output is None:
        raise UsageError("give --output FILE")
    from celebattr import api

    counts = api.merge(parts, output, overwrite=overwrite, notice=say)
    shards = str(parts[0]) if parts[0].is_dir() else counted(len(parts), "shard")
    say(f"{output}: {counted(counts.get('inputs', 0), 'input')} of {shards}, complete")
