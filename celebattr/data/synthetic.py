"""Synthetic faces: `--data drawn`, for the course and for tests that need no real data.

Twelve attributes can be seen in a drawing. They are no photographs: a face detector may or may not
find them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL import __version__ as PILLOW

from celebattr.attributes import CELEBA
from celebattr.constants import CROP_SIZE, SPLITS
from celebattr.data.dataset import Source
from celebattr.data.image_stores import digest

VISIBLE: dict[str, float] = {
    "Bald": 0.15,
    "Bangs": 0.3,
    "Black_Hair": 0.4,
    "Blond_Hair": 0.4,
    "Eyeglasses": 0.3,
    "Mouth_Slightly_Open": 0.4,
    "Mustache": 0.25,
    "Pale_Skin": 0.3,
    "Smiling": 0.5,
    "Wearing_Hat": 0.25,
    "Wearing_Lipstick": 0.4,
    "Wearing_Necktie": 0.3,
}
"""Attributes of a drawing and their frequencies: all common enough for a small test set."""

NAME = "drawn"
"""Value of `--data` for synthetic faces."""

COUNTS = {"train": 2400, "validation": 400, "test": 400}


def draw_face(present: set[str], rng: np.random.Generator) -> Image.Image:
    """Return a drawn face, 178x218 RGB as CelebA's crop, with the attributes in `present`."""
    height, width = CROP_SIZE
    background = tuple(int(v) for v in rng.integers(60, 200, 3))
    image = Image.new("RGB", (width, height), background)
    draw = ImageDraw.Draw(image)
    x, y = 89 + rng.uniform(-4, 4), 120 + rng.uniform(-4, 4)
    skin = (245, 225, 210) if "Pale_Skin" in present else (205, 150, 115)
    hair = (120, 75, 40)
    if "Blond_Hair" in present:
        hair = (235, 205, 110)
    elif "Black_Hair" in present:
        hair = (20, 18, 18)
    draw.rectangle((x - 60, y + 75, x + 60, height), fill=(70, 90, 130))
    if "Wearing_Necktie" in present:
        draw.polygon([(x - 10, y + 76), (x + 10, y + 76), (x, height)], fill=(160, 20, 30))
    if "Bald" not in present:
        draw.ellipse((x - 56, y - 82, x + 56, y + 60), fill=hair)
    draw.ellipse((x - 46, y - 62, x + 46, y + 66), fill=skin)
    if "Bangs" in present and "Bald" not in present:
        draw.chord((x - 46, y - 66, x + 46, y + 20), 190, 350, fill=hair)
    for side in (-1, 1):
        eye = x + side * 19
        draw.ellipse((eye - 8, y - 13, eye + 8, y - 4), fill="white")
        draw.ellipse((eye - 4, y - 12, eye + 4, y - 4), fill=(50, 35, 20))
        if "Eyeglasses" in present:
            draw.ellipse((eye - 15, y - 21, eye + 15, y + 4), outline="black", width=3)
    draw.line((x, y - 5, x - 3, y + 14, x + 4, y + 15), fill=(120, 80, 60), width=2)
    if "Mustache" in present:
        draw.ellipse((x - 18, y + 19, x + 18, y + 27), fill=(35, 25, 20))
    lips = (190, 20, 50) if "Wearing_Lipstick" in present else (165, 95, 85)
    bend = 10 if "Smiling" in present else -6
    if "Mouth_Slightly_Open" in present:
        inside = (60, 10, 15)
        if "Smiling" in present:
            draw.chord((x - 20, y + 16, x + 20, y + 46), 10, 170, inside, lips, 3)
        else:
            draw.ellipse((x - 13, y + 27, x + 13, y + 46), fill=inside, outline=lips, width=3)
    else:
        box = (x - 19, y + 33 - abs(bend), x + 19, y + 33 + abs(bend))
        draw.arc(box, *((15, 165) if bend > 0 else (195, 345)), fill=lips, width=4)
    if "Wearing_Hat" in present:
        draw.rectangle((x - 62, y - 58, x + 62, y - 46), fill=(40, 90, 60))
        draw.rectangle((x - 42, y - 100, x + 42, y - 50), fill=(40, 90, 60))
    return image


def labels(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return random labels [count, 40] in CelebA's order."""
    shares = np.array([VISIBLE.get(name, 0.2) for name in CELEBA])
    drawn = rng.random((count, len(CELEBA))) < shares
    # What a drawing cannot show together.
    column = CELEBA.index
    drawn[:, column("Black_Hair")] &= ~drawn[:, column("Blond_Hair")]
    for name in ("Bangs", "Black_Hair", "Blond_Hair"):
        drawn[:, column(name)] &= ~drawn[:, column("Bald")]
    return drawn


def source() -> Source:
    """Return the synthetic data set: 3,200 faces and their labels, always the same."""
    splits_N = np.repeat([SPLITS[name] for name in COUNTS], list(COUNTS.values())).astype(np.int8)
    columns = [CELEBA.index(name) for name in VISIBLE]
    targets_NA = labels(len(splits_N), np.random.default_rng(0))[:, columns].astype(np.uint8)
    names = [f"{number:04}" for number in range(len(splits_N))]
    attributes = tuple(VISIBLE)
    store = Drawn(attributes, targets_NA)
    return Source("by program", Path(NAME), attributes, names, targets_NA, splits_N, store)


class Drawn:
    """A store of synthetic faces: each is drawn when first read, and kept, 4 kB each."""

    path = Path(NAME)

    def __init__(self, attributes: tuple[str, ...], targets_NA: NDArray[np.uint8]) -> None:
        self._attributes, self._targets_NA = attributes, targets_NA
        self._drawn: dict[str, bytes] = {}

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return an empty list: every face can be drawn."""
        return []

    def content(self, names: Sequence[str]) -> str:
        """Digest the program that draws the faces."""
        return digest([PILLOW, Path(__file__).read_text(encoding="utf-8")])

    def read(self, name: str) -> bytes:
        """Return a drawing as a PNG."""
        if name in self._drawn:
            return self._drawn[name]
        row = self._targets_NA[int(name)]
        present = {a for a, yes in zip(self._attributes, row, strict=True) if yes}
        data = io.BytesIO()
        image = draw_face(present, np.random.default_rng([1, int(name)]))
        image.save(data, "PNG", compress_level=1)
        return self._drawn.setdefault(name, data.getvalue())
