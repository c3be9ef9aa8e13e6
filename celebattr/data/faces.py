"""Faces of labelled photos: whether images are aligned crops already, and alignment if not."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image

from celebattr.constants import CROP_SIZE, Progress
from celebattr.data.dataset import FaceDataset
from celebattr.data.image_stores import Distant, Store, digest
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import DataError, ImageError, NoFaceError
from celebattr.images.align import ANCHORS_32, anchors, main_crop
from celebattr.images.detect import YuNet, largest
from celebattr.images.photo import FIRST_SIDE, Photo, is_aligned
from celebattr.images.turns import in_turn
from celebattr.io.prefetch import ordered_map
from celebattr.options import Location

LOOKS = 64
"""Images of a data set that are looked at to decide whether they are aligned."""
NEAR = 8.0
"""Distance in pixels of the crop from CelebA's places up to which the eyes are at them."""
AGREED = 8
"""Faces that decide it without the other looks, where all of them agree."""
VERSION = 1
"""Version of finding and aligning: another one makes other caches."""
NAMED = 3
"""Files that a message names."""


@functools.cache
def _detector() -> YuNet:
    return YuNet()


class Aligned:
    """The main face of each photo of a store as an aligned crop, as `predict` makes it.

    A photo of the crop's very size is one already, as there.
    """

    def __init__(self, photos: Store) -> None:
        self._photos = photos

    @property
    def path(self) -> Location:
        """The place of the photos."""
        return self._photos.path

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names that are not there."""
        return self._photos.missing(names)

    def content(self, names: Sequence[str]) -> str:
        """Digest the photos, and the version of what aligns them."""
        return digest(["aligned", VERSION, self._photos.content(names)])

    def read(self, name: str) -> bytes:
        """Return the crop as a BMP, which is fast to write and to read.

        Raises:
            NoFaceError: the photo shows no face.
            ImageError: it cannot be opened.
        """
        return self._crop(self._photos.read(name), name)

    @in_turn()
    def _crop(self, data: bytes, name: str) -> bytes:
        photo = Photo(data, FIRST_SIDE, name=f"{self.path}: {name}")
        if is_aligned(photo.size):
            crop_HWC = photo.frame()
        else:
            found, _ = main_crop(photo, _detector())
            if found is None:
                raise NoFaceError(f"{self.path}: {name}: no face found")
            crop_HWC = found.frame_HWC
        written = io.BytesIO()
        Image.fromarray(crop_HWC).save(written, "BMP")
        return written.getvalue()


class DistantAligned(Aligned):
    """The same of a store with latency."""

    def __init__(self, photos: Distant) -> None:
        super().__init__(photos)
        self._distant = photos

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return the crops of some photos; raises like `read`."""
        files = self._distant.read_all(names)
        return [self._crop(data, name) for data, name in zip(files, names, strict=True)]


class DataOptions(Protocol):
    """The options of a command that say what its images are."""

    @property
    def data(self) -> Sequence[Location]:
        """Data sets to join."""

    @property
    def skip_missing(self) -> bool:
        """Use what is there where images, rows or shards are missing."""

    @property
    def allow_outside(self) -> bool:
        """Read images that a list names outside of its folder."""

    @property
    def column(self) -> str | None:
        """Column of a CSV that names the image."""

    @property
    def attributes(self) -> str | None:
        """Attributes to use; None for all."""

    @property
    def faces(self) -> str:
        """auto, largest or none."""

    @property
    def workers(self) -> int:
        """Threads that open images."""


def load_crops(options: DataOptions) -> tuple[FaceDataset, str]:
    """Load data sets, their images as aligned crops.

    Returns:
        The data set, and as a line what was decided about its faces, as `find_faces` gives it.

    Raises:
        DataError: the data cannot be read.
    """
    dataset = load_dataset(
        options.data,
        skip_missing=options.skip_missing,
        allow_outside=options.allow_outside,
        column=options.column,
        attributes=options.attributes,
    )
    return find_faces(dataset, options.faces, workers=options.workers)


def find_faces(dataset: FaceDataset, faces: str, *, workers: int) -> tuple[FaceDataset, str]:
    """Make the images of a data set aligned crops, if they are not.

    Args:
        dataset: as loaded.
        faces: auto, largest or none.
        workers: threads that open the images which auto looks at.

    Returns:
        The data set, whose photos are aligned when they are read; and what was decided and why, in
        one line.
    """
    stores, lines = [], []
    for number, store in enumerate(dataset.stores):
        names = [dataset.names[row] for row in np.flatnonzero(dataset.store_N == number)]
        chosen, why = faces, "as asked"
        if faces == "auto":
            chosen, why = decide(store, names, workers=workers)
        if chosen == "largest":
            store = DistantAligned(store) if isinstance(store, Distant) else Aligned(store)
        stores.append(store)
        what = "aligned as in predict" if chosen == "largest" else "taken as aligned crops"
        lines.append(f"{what}: {why}")
    if len(set(lines)) > 1:
        lines = [f"{s.path}: {line}" for s, line in zip(stores, lines, strict=True)]
    return replace(dataset, stores=tuple(stores)), "; ".join(dict.fromkeys(lines))


def how(dataset: FaceDataset) -> str:
    """Return what the crops of a data set are: none (as they came), largest, or mixed."""
    aligned = {isinstance(store, Aligned) for store in dataset.stores}
    return "mixed" if len(aligned) > 1 else "largest" if True in aligned else "none"


def decide(store: Store, names: Sequence[str], *, workers: int) -> tuple[str, str]:
    """Decide whether images are photos (largest) or aligned crops (none), and say why.

    Most of the faces in some images spread over all must have their eyes at CelebA's places. An
    image without a face says nothing, and one of the crop's very size is a crop, as in `predict`.
    """
    rows = np.unique(np.linspace(0, len(names) - 1, min(LOOKS, len(names))).round().astype(int))
    seen = 0
    off: list[float] = []
    # A look may cost a round trip or a row group of 100 MB: where a quarter agree, they do.
    for part in (rows[::4], np.setdiff1d(rows, rows[::4])):
        off += _eyes_off(store, [names[row] for row in part], workers)
        seen += len(part)
        near = sum(distance <= NEAR for distance in off)
        if len(off) >= AGREED and near in (0, len(off)):
            break
    if not off:
        return "none", f"no face was found in {seen:,} of the images"
    if not any(off):
        return "none", f"{CROP_SIZE[1]}x{CROP_SIZE[0]} pixels, the size of one"
    why = f"the eyes of {near} of {len(off)} faces are at CelebA's places"
    return ("none" if 2 * near > len(off) else "largest"), why


def _eyes_off(store: Store, names: Sequence[str], workers: int) -> list[float]:
    """Return how far the eyes are from CelebA's places, in pixels of the crop, where faces are."""
    files: dict[str, bytes] = {}
    if isinstance(store, Distant):
        with contextlib.suppress(ImageError):  # one by one, below, the others are read
            files = dict(zip(names, store.read_all(names), strict=True))

    def look(name: str) -> float | None:
        try:
            return _distance(files.get(name) or store.read(name), name)
        except ImageError:
            return None  # whoever reads them all says which

    seen = ordered_map(look, names, workers=workers, ahead=2 * workers)
    return [distance for distance in seen if distance is not None]


@in_turn()
def _distance(data: bytes, name: str) -> float | None:
    photo = Photo(data, FIRST_SIDE, name=name)
    if is_aligned(photo.size):
        return 0.0
    found = _detector().detect(photo)
    if not found:
        return None
    width, height = photo.size
    face = largest(found, height, width).placed((CROP_SIZE[1] / width, CROP_SIZE[0] / height))
    return float(np.linalg.norm((anchors(face) - ANCHORS_32)[:2], axis=1).max())


@dataclass(frozen=True)
class LeftOut:
    """Rows that have no crop, by name: photos without a face, and unreadable ones."""

    no_face: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return a line for each kind that there is."""
        kinds = (("no face", self.no_face), ("unreadable", self.unreadable))
        return [
            f"{len(names):,} left out, {kind}: {_listed(names)}" for kind, names in kinds if names
        ]


def usable(
    parts: Sequence[FaceDataset],
    *,
    skip_unreadable: bool,
    workers: int,
    progress: Progress = lambda done, total: None,
) -> tuple[list[FaceDataset], LeftOut]:
    """Leave out photos without a face, and unreadable ones if asked to, by opening them all.

    Nothing is opened where neither can be: no photo is aligned, and none is to be skipped. Crops
    go into the caches of `parts`.

    Args:
        parts: of one data set.
        skip_unreadable: leave out what cannot be opened, instead of refusing it.
        workers: threads.
        progress: told of images done and their total.

    Raises:
        DataError: images cannot be opened; the message says how many and names the first.
    """
    no_face: list[str] = []
    unreadable: list[str] = []
    errors: list[ImageError] = []
    kept, done, total = [], 0, sum(map(len, parts))
    for part in parts:
        if not skip_unreadable and how(part) == "none":
            kept.append(part)
            continue
        there = np.ones(len(part), np.bool_)
        opened = functools.partial(_error_of, part)
        found = ordered_map(opened, range(len(part)), workers=workers, ahead=4 * workers)
        for row, error in enumerate(found):
            done += 1
            progress(done, total)
            if error is not None:
                there[row] = False
                no_face += [part.names[row]] * isinstance(error, NoFaceError)
                if not isinstance(error, NoFaceError):
                    unreadable.append(part.names[row])
                    errors.append(error)
        kept.append(part if there.all() else part.take(np.flatnonzero(there)))
    if errors and not skip_unreadable:
        more = f", and {len(errors) - 1:,} more cannot be opened" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}. Give --skip-unreadable to leave them out")
    return kept, LeftOut(tuple(no_face), tuple(unreadable))


def _error_of(part: FaceDataset, row: int) -> ImageError | None:
    try:
        part.read(row)
    except ImageError as error:
        return error
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
