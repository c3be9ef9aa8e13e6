"""`celebattr pack`."""

from __future__ import annotations

import sys

import typer

from celebattr.cli.options import command
from celebattr.data.shards.config import PackConfig
from celebattr.errors import UsageError


@command(PackConfig)
def pack(config: PackConfig) -> None:
    """Write a data set as tar shards, here or on an object store, or as a cache of pixels.

    Shards hold the images' own bytes and their labels, a tar a few hundred MiB of one split, with
    an index beside each: --data takes their folder or URL. What is packed twice is the same to the
    last byte, and what was cut off is gone on with.
    """
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    from rich.console import Console
    from rich.progress import Progress

    from celebattr.data.shards.pack import run

    with Progress(
        console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("packing", total=None)
        place, told = run(config, lambda done, total: bar.update(task, completed=done, total=total))
    typer.echo(told, err=True)
    typer.echo(place)
