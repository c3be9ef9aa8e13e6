"""Options of `celebattr pack`."""

from __future__ import annotations

from dataclasses import dataclass

from celebattr.errors import UsageError
from celebattr.options import (
    Checks,
    Location,
    Url,
    allow_outside_option,
    attributes_option,
    column_option,
    data_option,
    decoders_option,
    faces_option,
    option,
    overwrite_option,
    skip_missing_option,
    skip_unreadable_option,
)

PACKINGS: tuple[str, ...] = ("webdataset", "cache")


@dataclass(frozen=True)
class PackConfig(Checks):
    """Options of `celebattr pack`: data sets, target and size of shards."""

    data: tuple[Location, ...] = data_option()
    limit: int | None = option(None, "Use only the first N images of each split.", "Data")
    skip_missing: bool = skip_missing_option()
    allow_outside: bool = allow_outside_option()
    skip_unreadable: bool = skip_unreadable_option()
    faces: str = faces_option()
    column: str | None = column_option()
    attributes: str | None = attributes_option()
    output: Location | None = option(
        None, "Folder or URL to write to.", "Output", metavar="DIR|URL", was="--out"
    )
    format: str = option(
        "webdataset", "webdataset (tar shards) or cache (pixels).", "Output", choices=PACKINGS
    )
    overwrite: bool = overwrite_option()
    shard_size: int = option(256, "Largest size of a shard.", "Output", metavar="MIB")
    shard_images: int | None = option(None, "Most images in a shard.", "Output", shown="no limit")
    workers: int = decoders_option()

    def __post_init__(self) -> None:
        self._check(
            shard_size=(1, 100_000), shard_images=(1, 10**9), limit=(1, 10**9), workers=(1, 256)
        )
        if self.format == "webdataset" and self.output is None:
            raise UsageError("give --output, a folder or URL for the shards")
        if self.format == "cache" and isinstance(self.output, Url):
            raise UsageError(
                f"--output {self.output}: a cache is mapped into memory, so it must be on a disk; "
                "give a folder"
            )
