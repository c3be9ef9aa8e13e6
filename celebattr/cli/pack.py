"""`celebattr pack`."""

from __future__ import annotations

import typer

from celebattr.cli.options import command, progress_bar
from celebattr.cli.streams import say
from celebattr.data.shards.config import PackConfig
from celebattr.errors import UsageError


@command()
def pack(config: PackConfig) -> None:
    """Write a data set as tar shards, or as a cache of decoded images.

    Run it again to continue after an interruption: shards that are complete stay.

    Examples:
        $ celebattr pack --data celeba/ --output shards/
        $ celebattr pack --data celeba/ --output s3://bucket/faces --shard-size 512
    """
    if not config.data:
        raise UsageError("no data: give --data DIR or set CELEBATTR_DATA")
    from celebattr.data.shards.pack import run

    with progress_bar("packing") as show:
        place, told = run(config, show)
    say(told)
    typer.echo(place)
