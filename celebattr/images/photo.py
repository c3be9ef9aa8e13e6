"""Photos decoded at part of their size: twelve megapixels are rarely needed, and slow."""

from __future__ import annotations

import os
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from celebattr.constants import CROP_SIZE
from celebattr.images.colour import in_srgb, profile_of
from celebattr.images.open import decode, read_bytes

FIRST_SIDE = 640
"""Pixels of the longer side to decode first: enough for the detector's first two looks, and for
aligning a large face."""


class Photo:
    """An opened photo, decoded at part of its size for as long as that is enough.

    Its colours are those of its profile, until `in_srgb` converts what is used of it.

    A JPEG is decoded to 1/2, 1/4 or 1/8 of its size, in a fraction of the time and memory; other
    formats are decoded in full and averaged. A file that is damaged is refused alike.

    Args:
        source: a path, or the bytes of a file.
        side: how many pixels of the longer side will be asked for first.
        name: what to call it in errors.

    Attributes:
        size: width and height in full, upright, in pixels.

    Raises:
        ImageNotFoundError, ImageTooLargeError, UnreadableImageError: see `images.open_image`.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes, side: float, *, name: str | None = None
    ) -> None:
        self._data, self._name = read_bytes(source, name=name)
        self._image, self.size = self._decode(side)
        self._pixels_HWC: NDArray[np.uint8] | None = None

    @classmethod
    def of(cls, pixels_HWC: NDArray[np.uint8]) -> Self:
        """Wrap an image that is decoded already: uint8, RGB."""
        photo = cls.__new__(cls)
        photo._image = Image.fromarray(pixels_HWC)
        photo.size = photo._image.size
        photo._pixels_HWC = pixels_HWC
        return photo

    def at(self, side: float) -> NDArray[np.uint8]:
        """Return the photo with at least `side` pixels on its longer side, if it has them.

        Returns:
            uint8 [H, W, 3], RGB: the full size divided by 1, 2, 4 or 8, and rounded up.
        """
        enough = min(side, max(self.size))
        if max(self._image.size) < enough:
            self._image, _ = self._decode(side)
            self._pixels_HWC = None
        if self._pixels_HWC is None or max(self._pixels_HWC.shape) < enough:
            divisor = next((d for d in (8, 4, 2) if max(self._image.size) >= d * side), 1)
            self._pixels_HWC = np.asarray(
                self._image.reduce(divisor) if divisor > 1 else self._image
            )
        return self._pixels_HWC

    def frame(self) -> NDArray[np.uint8]:
        """Return the whole photo as a crop, uint8 [218, 178, 3], stretched if need be."""
        (width, height), (frame_height, frame_width) = self.size, CROP_SIZE
        share = 2.0 * max(frame_width / width, frame_height / height)
        frame_HWC = to_frame(Image.fromarray(self.at(share * max(self.size))))
        return self.in_srgb(frame_HWC)

    def in_srgb(self, part_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a part of the photo in sRGB, whatever the profile of its colours."""
        profile = profile_of(self._image)
        if profile is None:
            return part_HWC
        return np.asarray(in_srgb(Image.fromarray(part_HWC), profile))

    def _decode(self, side: float) -> tuple[Image.Image, tuple[int, int]]:
        return decode(self._data, self._name, side=side, keep_profile=True)


def is_aligned(size: tuple[int, int]) -> bool:
    """Return True if width and height are those of CelebA's aligned crop, 178 and 218."""
    return size == (CROP_SIZE[1], CROP_SIZE[0])


def to_frame(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image of a face as a crop uint8 [218, 178, 3], stretched if need be."""
    if not is_aligned(image.size):
        image = image.resize((CROP_SIZE[1], CROP_SIZE[0]), Image.Resampling.BILINEAR)
    return np.asarray(image)
