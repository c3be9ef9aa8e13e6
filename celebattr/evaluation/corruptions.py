"""Corruptions of crops: compressed, blurred, noisy, dark, small, grey, turned or moved.

Each is a pure function of a crop and of its image's index, which decides what is random: the
noise, and the direction of a turn or a move.

Source: the idea and most kinds, but not the levels, are of Hendrycks, Dietterich, "Benchmarking
Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celebattr.errors import UsageError, suggestion
from celebattr.images.formats import compressed

Crop = NDArray[np.uint8]
"""uint8 [H, W, 3]."""


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption at one level.

    Attributes:
        name: as `--corrupt` takes it.
        level: how much, with its unit, for a person.
        apply: maps a crop and its image's index to a crop of the same size.
    """

    name: str
    level: str
    apply: Callable[[Crop, int], Crop]


def jpeg(crop_HWC: Crop, index: int, quality: int) -> Crop:
    """Compress as JPEG, quality 1 to 95, with half the resolution of colours."""
    return compressed(crop_HWC, "JPEG", quality=quality, subsampling="4:2:0")


def webp(crop_HWC: Crop, index: int, quality: int) -> Crop:
    """Compress as WebP, quality 1 to 100."""
    return compressed(crop_HWC, "WEBP", quality=quality)


def blur(crop_HWC: Crop, index: int, sigma: float) -> Crop:
    """Blur with a Gaussian of `sigma` pixels."""
    import cv2

    blurred = cv2.GaussianBlur(crop_HWC, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.uint8)


def noise(crop_HWC: Crop, index: int, sigma: float) -> Crop:
    """Add Gaussian noise of `sigma` grey values to each pixel and colour."""
    random = _random(index)
    noisy_HWC = crop_HWC + sigma * random.standard_normal(crop_HWC.shape, np.float32)
    return np.asarray(np.clip(np.rint(noisy_HWC), 0, 255), np.uint8)


def dark(crop_HWC: Crop, index: int, factor: float) -> Crop:
    """Multiply all values by `factor`, 0 to 1."""
    return np.asarray(np.rint(crop_HWC * np.float32(factor)), np.uint8)


def small(crop_HWC: Crop, index: int, height: int) -> Crop:
    """Scale down to `height` pixels, with the antialiased filter of photo programs, and back."""
    from PIL import Image

    full_height, full_width = crop_HWC.shape[:2]
    size = (max(1, round(full_width * height / full_height)), height)
    image = Image.fromarray(crop_HWC).resize(size, Image.Resampling.BICUBIC)
    back = image.resize((full_width, full_height), Image.Resampling.BICUBIC)
    return np.asarray(back, np.uint8)


def grey(crop_HWC: Crop, index: int) -> Crop:
    """Take the colour away, as Pillow's mode L does."""
    from PIL import Image

    return np.asarray(Image.fromarray(crop_HWC).convert("L").convert("RGB"), np.uint8)


def rotate(crop_HWC: Crop, index: int, degrees: float) -> Crop:
    """Turn about the middle, half of the images to the left; the edge fills what comes in."""
    import cv2

    height, width = crop_HWC.shape[:2]
    sign = 1.0 if _random(index).random() < 0.5 else -1.0
    middle = ((width - 1) / 2.0, (height - 1) / 2.0)
    return _warped(crop_HWC, np.asarray(cv2.getRotationMatrix2D(middle, sign * degrees, 1.0)))


def shift(crop_HWC: Crop, index: int, pixels: float) -> Crop:
    """Move by `pixels`, each image in a direction of its own; the edge fills what comes in."""
    angle = 2.0 * np.pi * _random(index).random()
    move = np.array([[1.0, 0.0, pixels * np.cos(angle)], [0.0, 1.0, pixels * np.sin(angle)]])
    return _warped(crop_HWC, move)


def _warped(crop_HWC: Crop, matrix_23: NDArray[np.float64]) -> Crop:
    import cv2

    height, width = crop_HWC.shape[:2]
    warped = cv2.warpAffine(crop_HWC, matrix_23, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _random(index: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[index, 0]))


def _levels(function: Callable[..., Crop], unit: str, *levels: float) -> tuple[Corruption, ...]:
    """Return the corruption of a function at each level; `unit` has {} for the level."""

    def at(level: float) -> Corruption:
        def apply(crop_HWC: Crop, index: int) -> Crop:
            return function(crop_HWC, index, level)

        return Corruption(function.__name__, unit.format(level), apply)

    return tuple(at(level) for level in levels)


CORRUPTIONS: dict[str, tuple[Corruption, ...]] = {
    "jpeg": _levels(jpeg, "quality {}", 30, 10),
    "webp": _levels(webp, "quality {}", 30, 10),
    "blur": _levels(blur, "sigma {} px", 1, 2, 4),
    "noise": _levels(noise, "sigma {} of 255", 10, 25, 50),
    "dark": _levels(dark, "times {}", 0.5, 0.2),
    "small": _levels(small, "{} px high", 64, 32),
    "grey": (Corruption("grey", "no colour", grey),),
    "rotate": _levels(rotate, "{} degrees", 10, 20, 30),
    "shift": _levels(shift, "{} px", 8, 16),
}
"""Corruptions by name, from mild to strong."""


def chosen(text: str | None) -> tuple[Corruption, ...]:
    """Parse "all" or names separated by commas; None selects no corruption.

    Raises:
        UsageError: a name is not known.
    """
    if text is None:
        return ()
    names = [word.strip().lower() for word in text.split(",")]
    if names == ["all"]:
        names = list(CORRUPTIONS)
    for name in names:
        if name not in CORRUPTIONS:
            raise UsageError(
                f"--corrupt {name!r} is neither all nor one of {', '.join(CORRUPTIONS)}."
                f"{suggestion(name, CORRUPTIONS)}"
            )
    return tuple(level for name in dict.fromkeys(names) for level in CORRUPTIONS[name])


def versions(
    crops_BHWC: NDArray[np.uint8], indices_B: NDArray[np.int64], corruptions: Sequence[Corruption]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the crops, then each corruption of them, uint8 [B, H, W, 3], one at a time."""
    yield crops_BHWC
    for corruption in corruptions:
        yield np.stack(
            [
                corruption.apply(crop_HWC, int(index))
                for crop_HWC, index in zip(crops_BHWC, indices_B, strict=True)
            ]
        )
