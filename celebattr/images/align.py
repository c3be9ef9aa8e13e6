"""Alignment of a face to CelebA's crop: 178 wide, 218 high, eyes and mouth at fixed places.

A similarity (turn, scale, shift; no reflection) is fitted on the eyes and the middle of the mouth.
The detector takes faces for more upright than they are, small ones most: of a roll, the landmarks
of a 75-pixel face show a third, those of a 250-pixel face nine tenths. So they are refined: the
face is detected again, at 125 pixels, in a square that the first fit made upright.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celebattr.constants import CROP_SIZE, SURE_SCORE
from celebattr.images.detect import Face, YuNet, largest
from celebattr.images.photo import Photo

ANCHORS_32 = np.array([[69.30, 111.86], [107.60, 111.44], [88.99, 152.78]])
"""Viewer-left eye, viewer-right eye and middle of the mouth in the crop, x and y in pixels: where
YuNet sees them in CelebA's own crops. It differs by up to 0.9 pixels from the mean of CelebA's
landmarks, (69.32, 111.20), (107.67, 111.19), (88.42, 152.12).

Source: mean over 1,505 original training images of CelebA, shifted, turned and scaled at random
(3 pixels, 3 degrees, 4 %) and seen as `_look_again` does; standard error 0.06. It brings a crop
nearer to CelebA's own: 2.20 pixels off instead of 2.27, on the half that was not averaged."""

BOX_SIDE = 100.0
"""Square root of the area of a face's box in the crop, in pixels: 86 to 115 for 98 % of faces."""
BOX_CENTRE = (88.5, 124.7)
"""Middle of a face's box in the crop, x and y in pixels."""
PLAUSIBLE = 1.6
"""Landmarks that make a face's box larger or smaller by more than this are not believed."""

CROP_SIDE = 224
"""Side in pixels of the upright square in which the face is detected again."""
CROP_SCALE = 1.25
"""Pixels of that square per pixel of the aligned crop. In one twice as fine the roll of a face is
seen better, by 2.5 degrees in the median, which the network does not mind."""
DETAIL = 1.5
"""Pixels of the photo per pixel of the crop, each way: a photo with more is read in part. On
40 photos of 12 megapixels 0.9 % of the decisions differ from those on the whole photo, most of them
near a threshold; at 2.5 and at 4 it is 0.8 %."""
PASSES = 3
"""Most passes of detecting a face again: one that lies on its side takes more than one."""
SETTLED = 8.0
"""A pass that moves no anchor by more pixels of the crop was the last one needed."""

Affine = NDArray[np.float64]
"""float64 [2, 3]: maps (x, y, 1) to (x, y)."""


@dataclass(frozen=True)
class Crop:
    """An aligned face: where it was found, its crop in sRGB, and the similarity to it."""

    face: Face
    frame_HWC: NDArray[np.uint8]
    transform: Affine


def main_crop(photo: Photo, detector: YuNet) -> tuple[Crop | None, int]:
    """Return the aligned main face of a photo, or None, and how many faces were found."""
    crops, count = aligned_crops(photo, detector)
    return (crops[0] if crops else None), count


def aligned_crops(photo: Photo, detector: YuNet, *, every: bool = False) -> tuple[list[Crop], int]:
    """Find the faces of a photo and align the main one; with `every`, then the others by size.

    Returns:
        The crops, in the order of their numbers in rows, tables and pictures, and how many faces
        were found.

    Raises:
        ImageError: the photo cannot be decoded in the size that is needed.
    """
    found = detector.detect(photo, every=every)
    if not found:
        return [], 0
    width, height = photo.size
    main = largest(found, height, width)
    chosen = [main]
    if every:
        chosen += sorted((f for f in found if f is not main), key=lambda f: -f.side)
    # The smallest needs the most pixels: asked for first, they are decoded once for all.
    photo.at(_pixels_for(min(chosen, key=lambda face: face.side), photo))
    crops = []
    for face in chosen:
        frame_HWC, transform = align(photo, face, detector)
        crops.append(Crop(face, photo.in_srgb(frame_HWC), transform))
    return crops, len(found)


def align(photo: Photo, face: Face, detector: YuNet) -> tuple[NDArray[np.uint8], Affine]:
    """Return the aligned crop of a face that was found in a photo, and the similarity to it.

    Returns:
        uint8 [218, 178, 3]; where the photo ends, its border is repeated. And the transform from
        pixels of the photo in full.
    """
    image_HWC = photo.at(_pixels_for(face, photo))
    height, width = image_HWC.shape[:2]
    x, y = width / photo.size[0], height / photo.size[1]
    transform = frame_transform(image_HWC, face.placed((x, y)), detector)
    return warp(image_HWC, transform, *CROP_SIZE), _rescaled(transform, x, y)


def _pixels_for(face: Face, photo: Photo) -> float:
    """Return the longer side of the photo, in pixels, from which a face is aligned."""
    return max(photo.size) * DETAIL * BOX_SIDE / max(face.side, 1.0)


def frame_transform(image_HWC: NDArray[np.uint8], face: Face, detector: YuNet) -> Affine:
    """Return the similarity from the photo to the aligned crop, its landmarks refined."""
    to_frame = fit(anchors(face))
    if not _plausible(face, to_frame):
        to_frame = _from_box(face)
    for step in range(PASSES):
        seen = _look_again(image_HWC, face, to_frame, detector)
        if step == 0 and (seen is None or seen[1] < SURE_SCORE):
            starts = [_turned(_from_box(face), turns) for turns in range(4)]
            looks = [seen, *(_look_again(image_HWC, face, start, detector) for start in starts)]
            seen = max((look for look in looks if look), key=lambda look: look[1], default=None)
        if seen is None:
            break
        moved = np.abs(apply(to_frame, seen[0]) - ANCHORS_32).max()
        to_frame = fit(seen[0])
        if moved < SETTLED:
            break
    return to_frame


def anchors(face: Face) -> NDArray[np.float64]:
    """Return float64 [3, 2]: viewer-left eye, viewer-right eye, middle of the mouth."""
    points = face.landmarks_52.astype(np.float64)
    return np.stack([points[0], points[1], (points[3] + points[4]) / 2])


def fit(points_32: NDArray[np.float64], targets_32: NDArray[np.float64] = ANCHORS_32) -> Affine:
    """Return the similarity that brings points to targets with the least squared distance.

    Source: S. Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", IEEE PAMI 13(4), 1991; in the plane, without reflection, it is one complex division.
    """
    centre, target_centre = points_32.mean(axis=0), targets_32.mean(axis=0)
    z = (points_32 - centre) @ np.array([1, 1j])
    w = (targets_32 - target_centre) @ np.array([1, 1j])
    turn = np.vdot(z, w) / max(np.vdot(z, z).real, 1e-9)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target_centre - linear @ centre])


def apply(transform: Affine, points_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the transformed points."""
    return points_N2 @ transform[:, :2].T + transform[:, 2]


def inverse(transform: Affine) -> Affine:
    """Return the inverse transform."""
    linear = np.linalg.inv(transform[:, :2])
    return np.column_stack([linear, -linear @ transform[:, 2]])


def warp(
    image_HWC: NDArray[np.uint8], transform: Affine, height: int, width: int
) -> NDArray[np.uint8]:
    """Return the transformed photo, antialiased, its border repeated where it ends.

    `cv2.warpAffine` reads only the four nearest pixels, so a photo that becomes less than half as
    large is first shrunk by area to twice the size asked for. Not further: CelebA's crops are as
    sharp as bilinear sampling alone leaves them.
    """
    import cv2

    scale = math.sqrt(abs(np.linalg.det(transform[:, :2])))
    image_HWC, transform = _cut_out(image_HWC, transform, height, width)
    if 2.0 * scale < 1.0:
        before_height, before_width = image_HWC.shape[:2]
        after_width = max(1, math.ceil(2.0 * scale * before_width))
        after_height = max(1, math.ceil(2.0 * scale * before_height))
        size = (after_width, after_height)
        image_HWC = np.asarray(cv2.resize(image_HWC, size, interpolation=cv2.INTER_AREA), np.uint8)
        transform = _rescaled(transform, before_width / after_width, before_height / after_height)
    border = cv2.BORDER_REPLICATE
    warped = cv2.warpAffine(image_HWC, transform, (width, height), borderMode=border)
    return np.asarray(warped, np.uint8)


def _cut_out(
    image_HWC: NDArray[np.uint8], transform: Affine, height: int, width: int
) -> tuple[NDArray[np.uint8], Affine]:
    """Return the part of the photo that the result shows, with a rim, and its transform."""
    corners_42 = np.array([[0.0, 0.0], [width, 0.0], [0.0, height], [width, height]])
    seen_42 = apply(inverse(transform), corners_42)
    rim = 4.0 / math.sqrt(abs(np.linalg.det(transform[:, :2]))) + 2.0
    photo_height, photo_width = image_HWC.shape[:2]
    left, top = np.floor(seen_42.min(axis=0) - rim)
    right, bottom = np.ceil(seen_42.max(axis=0) + rim)
    # At least one pixel stays, though the result may lie beside the photo altogether.
    x0 = int(np.clip(left, 0, photo_width - 1))
    y0 = int(np.clip(top, 0, photo_height - 1))
    x1 = int(np.clip(right, x0 + 1, photo_width))
    y1 = int(np.clip(bottom, y0 + 1, photo_height))
    moved = transform.copy()
    moved[:, 2] += transform[:, :2] @ np.array([x0, y0])
    return image_HWC[y0:y1, x0:x1], moved


def _rescaled(transform: Affine, x: float, y: float) -> Affine:
    """Return the transform for a photo scaled by `x` in width and `y` in height."""
    step = np.array([x, y])
    # The middle of pixel i of the shrunk photo lies at (i + 0.5) * step - 0.5 of the photo.
    linear = transform[:, :2] * step
    return np.column_stack([linear, transform[:, 2] + transform[:, :2] @ (0.5 * step - 0.5)])


def _look_again(
    image_HWC: NDArray[np.uint8], face: Face, to_frame: Affine, detector: YuNet
) -> tuple[NDArray[np.float64], float] | None:
    """Detect the face again, upright; return its anchors in the photo and its score, or None."""
    # The middle of the aligned crop comes to the middle of the square.
    height, width = CROP_SIZE
    to_crop = to_frame * CROP_SCALE
    to_crop[:, 2] += CROP_SIDE / 2 - CROP_SCALE * np.array([width / 2, height / 2])
    from_crop = inverse(to_crop)
    seen = detector.look(warp(image_HWC, to_crop, CROP_SIDE, CROP_SIDE))
    same = _same(face, seen, from_crop)
    if same is None or not _plausible(same, fit(anchors(same))):
        return None
    return apply(from_crop, anchors(same)), same.box.score


def _same(face: Face, seen: list[Face], from_crop: Affine) -> Face | None:
    """Return the face of a square that matches the expected one in place and size, or None."""
    centre, size = _place(face)
    scale = math.hypot(*from_crop[:, 0])

    def distance(other: Face) -> float:
        return float(np.linalg.norm(apply(from_crop, _place(other)[0]) - centre))

    alike = [other for other in seen if 0.5 < _place(other)[1] * scale / size < 2.0]
    nearest = min(alike, key=distance, default=None)
    return nearest if nearest is not None and distance(nearest) < 0.5 * size else None


def _place(face: Face) -> tuple[NDArray[np.float64], float]:
    """Return the middle of the face's box, x and y, and the square root of its area."""
    box = face.box
    centre = np.array([(box.left + box.right) / 2, (box.top + box.bottom) / 2])
    return centre, max(face.side, 1e-3)


def _plausible(face: Face, to_frame: Affine) -> bool:
    """Return True if landmarks and box agree on the face's size."""
    ratio = math.hypot(*to_frame[:, 0]) * _place(face)[1] / BOX_SIDE
    return 1.0 / PLAUSIBLE < ratio < PLAUSIBLE


def _from_box(face: Face) -> Affine:
    """Return the transform that aligns an upright face by its box alone."""
    centre, size = _place(face)
    scale = BOX_SIDE / size
    return np.column_stack([scale * np.eye(2), np.array(BOX_CENTRE) - scale * centre])


def _turned(to_frame: Affine, turns: int) -> Affine:
    """Return the transform followed by clockwise quarter turns about the box's middle."""
    linear = np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), turns)
    middle = np.array(BOX_CENTRE)
    return np.column_stack([linear @ to_frame[:, :2], linear @ (to_frame[:, 2] - middle) + middle])
