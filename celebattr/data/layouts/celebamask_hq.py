"""CelebAMask-HQ: 30,000 of CelebA's faces as square crops of 1024 pixels, with new numbers.

The crops are not CelebA's aligned crops: they show a square of about 153 pixels of one, of its
178x218. They are warped to it by what is known of how they were cut: from the landmarks of each
image where `list_landmarks_align_celeba.txt` lies beside them, else from the mean landmarks, which
puts eyes and mouth 3.0 pixels off on average (90 % below 4.4; 300 aligned originals, landmarks by
YuNet). The margins that a crop does not show are filled by repeating its edge, so an image is worth
less than the official one: see `train --cut-margins`. Reading one takes 3 ms.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.constants import CROP_SIZE
from celebattr.data import label_files
from celebattr.data.dataset import Source
from celebattr.data.image_stores import Folder, digest
from celebattr.data.layouts import celeba
from celebattr.errors import DataError, ImageNotFoundError
from celebattr.images.open import decode, read_bytes
from celebattr.images.turns import in_turn

ATTRIBUTES = "CelebAMask-HQ-attribute-anno.txt"
MAPPING = "CelebA-HQ-to-CelebA-mapping.txt"
IMAGES = "CelebA-HQ-img"
LANDMARKS = ("list_landmarks_align_celeba.txt", "list_landmarks_align_celeba.csv")

MEAN_LANDMARKS_52 = np.array(
    [
        [69.316, 111.203],
        [107.674, 111.189],
        [88.019, 135.129],
        [71.162, 152.088],
        [105.686, 152.156],
    ]
)
"""Viewer-left eye, right eye, nose, left and right corner of the mouth in the aligned crop, x and
y in pixels.

Source: mean of 39,829 rows of CelebA's list_landmarks_align_celeba.txt."""

_DECODED_SIDE = 256.0
"""Pixels of a crop's side that are decoded: more than the 153 that it becomes."""


def read(path: Path) -> Source | None:
    """Read CelebAMask-HQ: its list of attributes, and the mapping to CelebA's names and splits.

    Raises:
        DataError: a list is damaged, or there is no mapping or no folder of images.
    """
    file = path / ATTRIBUTES
    if not file.is_file():
        return None
    table = label_files.read_table(file)
    targets = label_files.label_values(table, list(range(len(table.columns))))
    mapping = path / MAPPING
    if not mapping.is_file():
        raise DataError(
            f"{path} has {ATTRIBUTES} but no {MAPPING}: without it the images cannot be "
            "matched to CelebA's splits. It comes in the same archive"
        )
    originals = originals_of(mapping)
    lacking = [name for name in table.images if name not in originals]
    if lacking:
        raise DataError(f"{mapping} has no row for {len(lacking):,} images, the first {lacking[0]}")
    names = [originals[name] for name in table.images]
    splits = celeba.partition(path, names)
    note = ""
    if splits is None:
        known = [celeba.official_split(name) for name in names]
        odd = [name for name, split in zip(names, known, strict=True) if split is None]
        if odd:
            raise DataError(f"{mapping}: {odd[0]} is not the name of an image of CelebA")
        splits = np.array(known, np.int8)
        note = ", splits by CelebA's names"
    if not (path / IMAGES).is_dir():
        raise DataError(
            f"{path} has {ATTRIBUTES} but no folder {IMAGES}: it is in the same archive"
        )
    landmarks = celeba.find(path, LANDMARKS)
    points = None if landmarks is None else _landmarks(landmarks, names)
    note += ", aligned by the " + ("mean landmarks" if points is None else "landmarks of each")
    return Source(
        "CelebAMask-HQ",
        path,
        table.columns,
        names,
        targets,
        splits,
        Crops(path / IMAGES, dict(zip(names, table.images, strict=True)), points),
        celeba.identities(path, names),
        note,
        table.lacking,
    )


def originals_of(mapping: Path) -> dict[str, str]:
    """Return CelebA's name of each crop, `119614.jpg` for `0.jpg`, from the list of both.

    Raises:
        DataError: a row is not an index, an index and a name.
    """
    originals: dict[str, str] = {}
    for number, line in enumerate(label_files.read_text(mapping).splitlines(), 1):
        words = line.replace(",", " ").split()
        if len(words) == 3 and words[0].isdecimal():
            originals[f"{words[0]}.jpg"] = words[2]
        elif words and number > 1:
            raise DataError(f"{mapping}, line {number}: expected idx, orig_idx and orig_file")
    return originals


def _landmarks(path: Path, names: list[str]) -> dict[str, NDArray[np.float64]]:
    table = label_files.read_table(path)
    try:
        points = table.cells.astype(np.float64).reshape(len(table.images), 5, 2)
        return dict(zip(names, celeba.by_name(names, table, points, path), strict=True))
    except ValueError as error:
        raise DataError(f"{path}: expected five points, x and y, a row ({error})") from error


def to_aligned(landmarks_52: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return the similarity [2, 3] from a crop of CelebA-HQ to CelebA's aligned crop, in pixels.

    Args:
        landmarks_52: of the face, x and y in pixels of the aligned crop.
        side: of the crop, in pixels.

    Source: Karras, Aila, Laine, Lehtinen, "Progressive Growing of GANs for Improved Quality,
    Stability, and Variation", ICLR 2018, appendix C: a square about the eyes and the mouth, which
    turns and scales with the photo, so that the landmarks of any upright copy give it.
    """
    eyes = (landmarks_52[0] + landmarks_52[1]) / 2 + 0.5
    across = landmarks_52[1] - landmarks_52[0]
    down = (landmarks_52[3] + landmarks_52[4]) / 2 + 0.5 - eyes
    x = across - np.array([-down[1], down[0]])
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    linear = np.array([[x[0], -x[1]], [x[1], x[0]]]) * 2.0 / side
    centre = eyes + 0.1 * down
    # The middle of pixel i lies at i + 0.5 of either.
    shift = centre - 0.5 - linear @ np.full(2, side / 2 - 0.5)
    return np.column_stack([linear, shift])


class Crops:
    """The crops of CelebA-HQ under CelebA's names, each warped to the aligned crop."""

    def __init__(
        self,
        path: Path,
        files: dict[str, str],
        landmarks: dict[str, NDArray[np.float64]] | None = None,
    ) -> None:
        self.path = path
        self._folder, self._files, self._landmarks = Folder(path), files, landmarks

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names whose crop is missing."""
        named = {self._files.get(name, name): name for name in names}
        return [named[file] for file in self._folder.missing(named)]

    def content(self, names: Sequence[str]) -> str:
        """Digest the crops' files, OpenCV's version, and the landmarks that align them."""
        import cv2

        points = [] if self._landmarks is None else [self._landmarks[n].tobytes() for n in names]
        crops = self._folder.content([self._files[name] for name in names])
        return digest([crops, cv2.__version__, MEAN_LANDMARKS_52.tobytes(), *points])

    @in_turn()
    def read(self, name: str) -> bytes:
        """Return a face in CelebA's aligned crop as a BMP, which is fast to write and to read."""
        import cv2

        file = self._files.get(name)
        if file is None:
            raise ImageNotFoundError(f"{self.path}: no crop of {name}")
        data, shown = read_bytes(self._folder.read(file), name=f"{self.path / file} ({name})")
        image, _ = decode(data, shown, side=_DECODED_SIDE)
        points = MEAN_LANDMARKS_52 if self._landmarks is None else self._landmarks[name]
        aligned_HWC = cv2.warpAffine(
            np.asarray(image),
            to_aligned(points, image.width),
            CROP_SIZE[::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        written = io.BytesIO()
        Image.fromarray(np.asarray(aligned_HWC, np.uint8)).save(written, "BMP")
        return written.getvalue()
