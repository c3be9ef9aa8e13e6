"""`celebattr merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from celebattr.errors import UsageError


def merge(
    parts: Annotated[
        list[Path],
        typer.Argument(
            metavar="PART",
            help="What each --shard i/N wrote, in any order, or a folder of it; or the one folder "
            "that --engine ray wrote.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")
    ] = None,
) -> None:
    """Join the parts of a sharded `predict` into what one run would have written.

    Proves that it is all: every shard is there, once, complete, of the same inputs, weights and
    options. Rows come in the order of the inputs.
    """
    if output is None:
        raise UsageError("give --output, the file to write")
    from celebattr import api

    counts = api.merge(parts, output)
    shards = str(parts[0]) if parts[0].is_dir() else f"{len(parts):,} shards"
    typer.echo(
        f"{output}: {counts.get('inputs', 0):,} inputs of {shards}, all there",
        err=True,
    )
