"""Face detection: looks at a photo in several sizes, in tiles where it is large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import MIN_SCORE, SURE_SCORE
from celebattr.images.photo import Photo
from celebattr.images.yunet import Network
from celebattr.predictions import FaceBox

MIN_SCORE_TURNED = 0.8
"""Least score in a turned photo: three more passes are three more chances to be wrong."""
OVERLAP = 0.3
"""Intersection over union above which the box of lower score is dropped."""
FIRST_SIDES = (320, 640)
"""Longer sides in pixels to which a photo is shrunk first: for large faces, which is most, and
where those are not sure."""
SMALLEST, SMALLEST_MAIN = 40.0, 80.0
"""Size of a face in pixels, the square root of the area of its box, down to which all faces are
looked for, and a photo's main one; in photos of up to 1,280 pixels smaller ones too."""
SEEN_FROM = 24.0
"""Size from which one look sees a face: of those of 16, 20, 24, 32 and 48 pixels, turned by up to
20 degrees, it finds 62, 86, 94, 97 and 100 %; up to 200 pixels all."""
STEP = 4.0
"""Largest ratio of one size of a photo to the next."""
TILE, SEAM = 1280, 128
"""Longest side of a part of a photo in one look, and how far parts overlap, in pixels: what no part
shows whole has 32 pixels or more in the next smaller size."""
INSIDE = 0.7
"""Share of a box inside a better one from which it is another view of the same face."""


@dataclass(frozen=True)
class Face:
    """A face in a photo.

    Attributes:
        box: in pixels of the photo; may reach over its rim.
        landmarks_52: float32 [5, 2], x and y in pixels of the photo: viewer-left eye, viewer-right
            eye, nose, viewer-left and viewer-right corner of the mouth, for a viewer who sees the
            face upright.
    """

    box: FaceBox
    landmarks_52: NDArray[np.float32]

    @property
    def side(self) -> float:
        """The square root of the area of the box."""
        return math.sqrt((self.box.right - self.box.left) * (self.box.bottom - self.box.top))

    def placed(
        self, scale: tuple[float, float] = (1.0, 1.0), shift: tuple[float, float] = (0.0, 0.0)
    ) -> Face:
        """Return the same face in a photo that is scaled in width and height, then shifted."""
        box, (x, y), (right, down) = self.box, scale, shift
        low = (box.left * x + right, box.top * y + down)
        high = (box.right * x + right, box.bottom * y + down)
        points_52 = self.landmarks_52 * np.array(scale, np.float32) + np.array(shift, np.float32)
        return Face(FaceBox(*low, *high, box.score), points_52)


class YuNet:
    """The YuNet detector; one serves any number of threads, each call uses one core.

    Args:
        model: the ONNX file; None takes the one that comes with celebattr.
        min_score: `detect` leaves out faces of a lower score.
        min_face: `detect` leaves out faces of fewer pixels (the square root of the area of the
            box), and looks no closer than they need; 0: as `SMALLEST` says.

    Raises:
        WeightsError: the model file is missing or damaged.
    """

    def __init__(
        self, model: Path | None = None, *, min_score: float = MIN_SCORE, min_face: float = 0.0
    ) -> None:
        self.min_score, self.min_face = min_score, min_face
        self._network = Network(model)

    def detect(self, photo: Photo, *, every: bool = False) -> list[Face]:
        """Find the faces of a photo.

        Looks at copies of the photo in growing sizes, the larger ones in tiles: at the first two
        until a face is sure, at the others until there is any. If none is sure, looks at the
        three quarter turns, of which the best wins if it is better. With `every` it looks at all
        sizes, and joins what they show.

        Returns:
            Best score first; boxes and landmarks in pixels of the photo in full.
        """
        sides = self._sides(max(photo.size), every)
        found: list[Face] = []
        if every:
            image_HWC = photo.at(sides[-1])  # decoded once, for the largest
            for side in reversed(sides):
                image_HWC = _shrunk(image_HWC, side)
                found += self._look_in_tiles(image_HWC, photo.size)
            found = join(found)
        else:
            for side in sides:
                if found and (found[0].box.score >= SURE_SCORE or side > FIRST_SIDES[-1]):
                    break
                small_HWC = _shrunk(photo.at(side), side)
                found = join([*found, *self._look_in_tiles(small_HWC, photo.size)])
        for turns in (1, 2, 3):
            if found and found[0].box.score >= SURE_SCORE:
                break
            small_HWC = _shrunk(photo.at(FIRST_SIDES[-1]), FIRST_SIDES[-1])
            faces = self._look_in_tiles(small_HWC, photo.size, turns)
            faces = [face for face in faces if face.box.score >= MIN_SCORE_TURNED]
            if faces and (not found or faces[0].box.score > found[0].box.score):
                found = faces
        return [f for f in found if f.box.score >= self.min_score and f.side >= self.min_face]

    def _sides(self, whole: int, every: bool) -> list[int]:
        """Return the longer sides to look at, growing, none larger than the photo's."""
        smallest = self.min_face or (SMALLEST if every else SMALLEST_MAIN)
        finest = min(whole, round(whole * SEEN_FROM / smallest))
        if not self.min_face:
            finest = max(finest, min(whole, TILE))
        first = [min(side, whole) for side in FIRST_SIDES]
        steps = math.ceil(math.log(max(finest / first[-1], 1.0), STEP))
        more = [round(finest / STEP**step) for step in range(steps - 1, -1, -1)]
        return list(dict.fromkeys([*first, *more]))

    def _look_in_tiles(
        self, image_HWC: NDArray[np.uint8], size: tuple[int, int], turns: int = 0
    ) -> list[Face]:
        """Detect at a shrunk photo's own size, in tiles where it is large.

        The photo is first turned by quarters against the clock. Returns the best score first, in
        pixels of the photo in full, whose width and height are `size`.
        """
        turned_HWC = np.rot90(image_HWC, turns)
        found: list[Face] = []
        for top, bottom, rims in tiles(turned_HWC.shape[0]):
            for left, right, sides in tiles(turned_HWC.shape[1]):
                seen = self.look(turned_HWC[top:bottom, left:right])
                found += [
                    face.placed(shift=(left, top))
                    for face in seen
                    if not _cut_off(face.box.left, face.box.right, right - left, sides)
                    and not _cut_off(face.box.top, face.box.bottom, bottom - top, rims)
                ]
        height, width = image_HWC.shape[:2]
        scale = (size[0] / width, size[1] / height)
        return [unturned(face, turns, height, width).placed(scale) for face in join(found)]

    def look(self, image_HWC: NDArray[np.uint8]) -> list[Face]:
        """Detect in one pass at the image's own size: no shrinking, no turning."""
        rows_K15 = self._network(image_HWC, min(self.min_score, MIN_SCORE))
        return join([_face(row) for row in rows_K15], inside=1.0)


def tiles(side: int) -> list[tuple[int, int, tuple[bool, bool]]]:
    """Return overlapping parts of a side, nearly equal: start, end, and if it goes on there."""
    count = max(1, math.ceil((side - SEAM) / (TILE - SEAM)))
    length = math.ceil((side + (count - 1) * SEAM) / count)
    starts = [min(k * (length - SEAM), side - length) for k in range(count)]
    return [(start, start + length, (start > 0, start + length < side)) for start in starts]


def _cut_off(low: float, high: float, length: int, goes_on: tuple[bool, bool]) -> bool:
    """Return True if a box reaches over an end of its tile where the photo goes on."""
    return (goes_on[0] and low < 0.0) or (goes_on[1] and high > length)


def join(faces: Sequence[Face], *, inside: float = INSIDE) -> list[Face]:
    """Return the faces without those whose box is that of a better one; best score first.

    From a share of `inside`, a box inside a better one is dropped too.
    """
    faces = sorted(faces, key=lambda face: -face.box.score)
    if len(faces) < 2:
        return faces
    boxes_N4 = np.array([(f.box.left, f.box.top, f.box.right, f.box.bottom) for f in faces])
    area_N = (boxes_N4[:, 2:] - boxes_N4[:, :2]).prod(axis=1)
    kept: list[int] = []
    left = np.arange(len(faces))
    while left.size:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        low = np.maximum(boxes_N4[left, :2], boxes_N4[best, :2])
        high = np.minimum(boxes_N4[left, 2:], boxes_N4[best, 2:])
        both = np.clip(high - low, 0.0, None).prod(axis=1)
        same = both > OVERLAP * (area_N[left] + area_N[best] - both)
        left = left[~(same | (both > inside * np.minimum(area_N[left], area_N[best])))]
    return [faces[k] for k in kept]


def largest(faces: Sequence[Face], height: int, width: int) -> Face:
    """Return the main face of a photo, by size weighted with centrality.

    The area of the box that lies inside the photo, times a weight that falls from 1 in the
    photo's middle to 0.3 at its rim: a cut-off face at the rim does not win over a whole one.
    """

    def weight(face: Face) -> float:
        box = face.box
        visible_width = max(min(box.right, width) - max(box.left, 0.0), 0.0)
        visible_height = max(min(box.bottom, height) - max(box.top, 0.0), 0.0)
        across = abs(box.left + box.right - width) / width
        down = abs(box.top + box.bottom - height) / height
        return visible_width * visible_height * (1.0 - 0.7 * min(max(across, down), 1.0))

    return max(faces, key=weight)


def unturned(face: Face, turns: int, height: int, width: int) -> Face:
    """Return a face found in `np.rot90(image, turns)`, in pixels of an image of that size."""
    box = face.box
    points = np.array([*face.landmarks_52, (box.left, box.top), (box.right, box.bottom)])
    for turn in range(turns % 4, 0, -1):
        # Undoes one turn: what was at the right is now at the top.
        before_width = width if turn % 2 else height
        points = np.stack([before_width - points[:, 1], points[:, 0]], axis=1)
    (left, top), (right, bottom) = points[5:].min(axis=0), points[5:].max(axis=0)
    box = FaceBox(float(left), float(top), float(right), float(bottom), box.score)
    return Face(box, points[:5].astype(np.float32))


def _face(row: NDArray[np.float32]) -> Face:
    left, top, width, height = (float(value) for value in row[:4])
    box = FaceBox(left, top, left + width, top + height, float(row[14]))
    return Face(box, row[4:14].reshape(5, 2).copy())


def _shrunk(image_HWC: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrink an image to at most `side` pixels on its longer side."""
    import cv2

    height, width = image_HWC.shape[:2]
    scale = side / max(height, width)
    if scale >= 1.0:
        return image_HWC
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # By area takes ten times as long, and is needed only where pixels would be passed over.
    how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image_HWC, size, interpolation=how), np.uint8)
