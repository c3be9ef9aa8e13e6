"""Options of `celebattr pack`."""

from __future__ import annotations

from dataclasses import dataclass

from celebattr.errors import UsageError
from celebattr.options import Checks, Location, Url, option

PACKINGS: tuple[str, ...] = ("webdataset", "cache")


@dataclass(frozen=True)
class PackConfig(Checks):
    """Options of `celebattr pack`: data sets, target and size of shards."""

    data: tuple[Location, ...] = option(
        (),
        "CelebA or your own data set; repeat to join several, each row keeps its split.",
        metavar="DIR|URL",
    )
    out: Location | None = option(
        None,
        "Where the files go: a folder, or a URL such as s3://bucket/folder. Without it, --format "
        "cache takes the folder in which train looks for its cache.",
        metavar="DIR|URL",
    )
    format: str = option(
        "webdataset",
        "webdataset: tar shards of the images as they are; cache: the decoded pixels that `train "
        "--cache disk` would leave.",
        choices=PACKINGS,
    )
    shard_size: int = option(256, "MiB of a shard, at most.")
    shard_images: int | None = option(None, "Images of a shard, at most. Without it, any number.")
    limit: int | None = option(None, "Use only the first N images of each split.")
    skip_missing: bool = option(False, "Leave out rows whose image file is missing.")
    workers: int = option(2, "Threads that read, and decode.")

    def __post_init__(self) -> None:
        self._check(
            shard_size=(1, 100_000), shard_images=(1, 10**9), limit=(1, 10**9), workers=(1, 256)
        )
        if self.format == "webdataset" and self.out is None:
            raise UsageError("--out is missing: the folder or URL that the shards go to")
        if self.format == "cache" and isinstance(self.out, Url):
            raise UsageError(
                f"--out {self.out}: a cache of pixels is mapped into memory, so it lies on a disk; "
                "give a folder"
            )
