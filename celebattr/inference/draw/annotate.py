"""Annotation of photos with face boxes and present attributes, with Pillow alone."""

from __future__ import annotations

import hashlib
import io
import itertools
import math
import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from celebattr.inference.draw import layout
from celebattr.inference.draw.layout import Panel, Rect, Text
from celebattr.io.files import reporting, write_bytes

if TYPE_CHECKING:
    from PIL import Image

    from celebattr.predictions import Prediction

MIN_SIDE = 480
"""Shorter side below which a photo is enlarged by a whole factor, to make room for text."""

_MAX_FACTOR, _MAX_ENLARGED_SIDE = 8, 4096
_FONT_SHARE, _FONT_SHARE_CROWD, _CROWD = 1 / 40, 1 / 48, 4
"""Height of the text as a share of the photo's side, for up to four faces and for more."""

Colour = tuple[int, int, int]

# Okabe and Ito's colours, which people with any colour vision can tell apart, light ones first:
# they stand out from most photos and from the dark panel.
COLOURS: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 190, 140),
    (240, 228, 66),
    (224, 130, 180),
    (235, 105, 45),
    (90, 140, 255),
)
_DARK, _WHITE = (16, 16, 20), (255, 255, 255)
_UNSURE = (255, 224, 150)
_PANEL_OPACITY = 0.66
_JPEG_MAX_SIDE = 65_500
_MAX_NAME_BYTES = 200


def annotate(image: Image.Image, predictions: Sequence[Prediction]) -> Image.Image:
    """Draw boxes and present attributes, the most probable first; uncertain ones end in "?".

    Several faces bear their number, `Prediction.face`. Where lists would cover each other or the
    faces they are cut short ("+3 more"); in a crowd some faces keep their box and number only.

    Args:
        image: the upright photo.
        predictions: its faces. A box of None takes the image as one aligned face: no box is drawn.

    Returns:
        A new RGB image; a small photo comes back larger, see `MIN_SIDE`.
    """
    from PIL import ImageFont

    canvas, factor = _enlarged(image)
    several = len(predictions) > 1
    text = Text(ImageFont.load_default(_font_size(canvas.size, len(predictions))), several)
    boxes = [_box(prediction, factor, canvas.size) for prediction in predictions]
    # The number above a box is to stay visible like the face itself.
    above = text.line if several else 0.0
    kept = [(left, max(top - above, 0.0), right, bottom) for left, top, right, bottom in boxes]
    lists = [labels(prediction) or ["none present"] for prediction in predictions]
    panels = layout.plan(canvas.size, lists, kept, text)

    pen = _Pen(canvas, text)
    faces = list(zip(predictions, boxes, panels, itertools.cycle(COLOURS), strict=False))
    for _, box, panel, colour in faces:
        if panel is not None:
            pen.leader(panel.rect, box, colour)
    for prediction, box, _, colour in faces:
        if prediction.box is not None:
            pen.box(box, colour)
    for prediction, _, panel, colour in faces:
        if panel is not None:
            pen.panel(panel, str(prediction.face), colour)
    for prediction, box, _, colour in faces:
        if several:
            pen.tag(box, str(prediction.face), colour)
    return canvas


def output_name(path: str, folder: Path) -> Path:
    """Return the annotated picture's path for an input, unique inside `folder`.

    A relative path keeps its folders: `a/x.jpg` gives `a/x.annotated.jpg`. Where that would be
    ambiguous or leave the folder (an absolute path, `..`, a suffix other than .jpg, .jpeg, .png)
    the name also gets eight digits of the path's hash. The middle part keeps a photo from being
    overwritten when `folder` is where the photos are.
    """
    pure = PurePath(path)
    suffix = pure.suffix.lower()
    kept = suffix in (".jpg", ".jpeg", ".png")
    parts = [part for part in pure.parts if part != pure.anchor]
    plain = kept and not pure.anchor and ".." not in parts
    stem = pure.stem if kept else pure.name or "photo"
    folders = ["up" if part == ".." else part for part in parts[:-1]]
    if len(os.fsencode(pure.name)) > _MAX_NAME_BYTES:
        plain, stem = False, stem[:40]
    ending = f".annotated{pure.suffix if kept else '.jpg'}"
    if not plain:
        stem = "stdin" if path == "-" else "up" if stem == ".." else stem
        ending = f".{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}{ending}"
    return folder.joinpath(*folders, stem + ending)


def save(image: Image.Image, path: Path) -> None:
    """Write a picture as PNG or, for any other suffix, as JPEG: complete or absent.

    Raises:
        DataError: it cannot be written.
    """
    data = io.BytesIO()
    if path.suffix.lower() == ".png":
        image.save(data, "PNG")
    else:
        if max(image.size) > _JPEG_MAX_SIDE:
            image = image.copy()
            image.thumbnail((_JPEG_MAX_SIDE, _JPEG_MAX_SIDE))
        image.save(data, "JPEG", quality=92)
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data.getvalue())


def labels(prediction: Prediction) -> list[str]:
    """Return the names of the present attributes for display, the most probable first."""
    chosen = sorted(prediction.present, key=lambda name: -prediction.probabilities[name])
    unsure = set(prediction.unsure)
    return [name.replace("_", " ") + (" ?" if name in unsure else "") for name in chosen]


def _font_size(size: tuple[int, int], faces: int) -> float:
    """Return the text size in pixels, from the photo's area so that tall photos work too."""
    share = _FONT_SHARE if faces <= _CROWD else _FONT_SHARE_CROWD
    return max(12.0, min(math.sqrt(size[0] * size[1]) * share, min(size) / 16))


def _enlarged(image: Image.Image) -> tuple[Image.Image, int]:
    """Return an RGB copy to draw on and the whole factor it was enlarged by."""
    from PIL import Image

    room = max(_MAX_ENLARGED_SIDE // max(image.size), 1)
    factor = min(math.ceil(MIN_SIDE / min(image.size)), _MAX_FACTOR, room)
    canvas = image.convert("RGB")  # a copy, though it be RGB already
    if factor > 1:
        size = (image.width * factor, image.height * factor)
        canvas = canvas.resize(size, Image.Resampling.LANCZOS)
    return canvas, factor


def _box(prediction: Prediction, factor: int, size: tuple[int, int]) -> Rect:
    """Return the face in pixels of the canvas, or the middle of an aligned crop."""
    width, height = size
    if prediction.box is None:
        return 0.22 * width, 0.15 * height, 0.78 * width, 0.88 * height
    box = prediction.box
    left, right = sorted(min(max(x * factor, 0.0), width - 1.0) for x in (box.left, box.right))
    top, bottom = sorted(min(max(y * factor, 0.0), height - 1.0) for y in (box.top, box.bottom))
    return left, top, right, bottom


class _Pen:
    """Draws on a canvas: strokes as wide as suit it, and text of one size."""

    def __init__(self, canvas: Image.Image, text: Text) -> None:
        from PIL import ImageDraw

        self.canvas, self.text, self.draw = canvas, text, ImageDraw.Draw(canvas)
        self.stroke = max(2, round(min(canvas.size) / 220))

    def box(self, box: Rect, colour: Colour) -> None:
        """Draw the outline, with a dark rim on both sides so that it shows on any background."""
        rim = max(1, self.stroke // 3)
        left, top, right, bottom = (round(v) for v in box)
        outer = (left - rim, top - rim, right + rim, bottom + rim)
        self.draw.rectangle(outer, outline=_DARK, width=self.stroke + 2 * rim)
        self.draw.rectangle((left, top, right, bottom), outline=colour, width=self.stroke)

    def leader(self, rect: Rect, box: Rect, colour: Colour) -> None:
        """Draw a line from a panel to its face, unless they are side by side."""
        if layout.gap(rect, box) < 6 * self.stroke:
            return
        line = layout.leader(rect, box)
        self.draw.line(line, fill=_DARK, width=self.stroke + 2)
        self.draw.line(line, fill=colour, width=max(self.stroke - 1, 1))

    def tag(self, box: Rect, number: str, colour: Colour) -> None:
        """Draw the face's number at its box's upper left corner, above it if there is room."""
        text = self.text
        width = text.font.getlength(number) + 0.6 * text.line
        left = max(min(box[0], self.canvas.width - width), 0)
        top = box[1] - text.line if box[1] >= text.line else box[1]
        self.draw.rectangle((left, top, left + width, top + text.line), fill=colour)
        middle = (left + width / 2, top + text.line / 2)
        self.draw.text(middle, number, fill=_DARK, font=text.font, anchor="mm")

    def panel(self, panel: Panel, number: str, colour: Colour) -> None:
        """Draw the list on a dark, half-transparent ground with the face's colour at the left."""
        from PIL import Image

        text = self.text
        left, top, right, bottom = (round(v) for v in panel.rect)
        ground = self.canvas.crop((left, top, right, bottom))
        shade = Image.new("RGB", ground.size, _DARK)
        self.canvas.paste(Image.blend(ground, shade, _PANEL_OPACITY), (left, top))
        self.draw.rectangle((left, top, left + text.head, bottom - 1), fill=colour)
        first = top + 0.7 * text.padding + text.line / 2
        if text.numbered:
            place = (left + text.head / 2, first)
            self.draw.text(place, number, fill=_DARK, font=text.font, anchor="mm")
        rows = -(-len(panel.lines) // panel.columns)
        step = text.column(panel.lines)
        for i, line in enumerate(panel.lines):
            column, row = divmod(i, rows)
            place = (left + text.head + text.padding + column * step, first + row * text.line)
            fill = _UNSURE if line.endswith("?") else _WHITE
            self.draw.text(place, line, fill=fill, font=text.font, anchor="lm")
