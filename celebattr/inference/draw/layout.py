"""Layout of text panels in a photo: beside their faces, off other faces and panels.

Rectangles are (left, top, right, bottom) in pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

Rect = tuple[float, float, float, float]
Size = tuple[int, int]

_OWN, _OTHERS = 8.0, 12.0
"""Cost of covering the panel's own face, or another face or panel: per share of the panel."""

_GRID = 9
"""Places tried per side, besides those next to the face."""

_MAX_HIDDEN = 0.04
"""Share of a panel that may lie on other faces or panels."""

_MAX_OWN = 0.2
"""Share of its own face that a panel may cover, where there are several."""

_MAX_COVERED = 0.45
"""Share of the photo that all panels together may cover."""

_LENGTHS = (40, 12, 8, 6, 4, 3)
"""Lines of a list, longest first; the first length that gives every panel a place is taken."""

_MAX_COLUMNS = 4

_MAX_PANELS = 32
"""In a crowd the largest faces get panels; to look for room takes time."""


@dataclass(frozen=True)
class Panel:
    """The text of one face, and its rectangle."""

    lines: list[str]
    columns: int
    rect: Rect


@dataclass(frozen=True)
class Text:
    """Measures of a font, in pixels."""

    font: Font
    numbered: bool

    @property
    def line(self) -> float:
        """The distance from one line to the next."""
        _, top, _, bottom = self.font.getbbox("Ág")
        return 1.3 * (bottom - top)

    @property
    def padding(self) -> float:
        """Space around text."""
        return 0.45 * self.line

    @property
    def head(self) -> float:
        """Width of a panel's coloured edge, which holds the face's number."""
        return (self.font.getlength("00") if self.numbered else 0.0) + 0.5 * self.padding

    def column(self, lines: Sequence[str]) -> float:
        """Return the width of a column, padding included."""
        return max(self.font.getlength(line) for line in lines) + 2 * self.padding


def area(rect: Rect) -> float:
    """Return the area in square pixels; 0 for an empty rectangle."""
    return max(rect[2] - rect[0], 0.0) * max(rect[3] - rect[1], 0.0)


def shared(one: Rect, other: Rect) -> float:
    """Return the area in square pixels that two rectangles have in common."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    return area((left, top, min(one[2], other[2]), min(one[3], other[3])))


def gap(one: Rect, other: Rect) -> float:
    """Return the distance of two rectangles in pixels; 0 where they touch or overlap."""
    across = max(one[0] - other[2], other[0] - one[2], 0.0)
    down = max(one[1] - other[3], other[1] - one[3], 0.0)
    return math.hypot(across, down)


def plan(
    canvas: Size, lists: Sequence[list[str]], faces: Sequence[Rect], text: Text
) -> list[Panel | None]:
    """Return a panel per face, with the longest lists that leave faces and panels visible.

    Where even short lists do not all fit, the faces that have no room get None.
    """
    panels: list[Panel | None] = []
    for length in _LENGTHS:
        shorter = [_shortened(lines, length) for lines in lists]
        panels = _place_all(canvas, shorter, faces, text, length != _LENGTHS[-1])
        if None not in panels:
            break
    return panels


def _shortened(lines: list[str], length: int) -> list[str]:
    if len(lines) > length + 1:
        return [*lines[:length], f"+{len(lines) - length} more"]
    return lines


def _place_all(
    canvas: Size, lists: Sequence[list[str]], faces: Sequence[Rect], text: Text, all_or_none: bool
) -> list[Panel | None]:
    panels: dict[int, Panel] = {}
    left_over = _MAX_COVERED * canvas[0] * canvas[1]
    # Large faces have the fewest free places beside them, so they choose first.
    by_size = sorted(range(len(faces)), key=lambda i: -area(faces[i]))
    for i in by_size[:_MAX_PANELS]:
        others = [*faces[:i], *faces[i + 1 :]]
        taken = [panel.rect for panel in panels.values()]
        shapes = _shapes(canvas, lists[i], text)
        if shapes and shapes[0][1] * shapes[0][2] <= left_over:
            found = _place(canvas, faces[i], shapes, others, taken, 0.4 * text.line)
            if found is not None:
                panels[i] = Panel(lists[i], *found)
                left_over -= area(panels[i].rect)
        if all_or_none and i not in panels:
            break
    return [panels.get(i) for i in range(len(faces))]


def _shapes(canvas: Size, lines: Sequence[str], text: Text) -> list[tuple[int, int, int]]:
    """Return columns, width and height of each shape that fits the canvas, narrowest first."""
    shapes = []
    for columns in range(1, min(_MAX_COLUMNS, len(lines)) + 1):
        rows = -(-len(lines) // columns)
        if -(-len(lines) // rows) != columns:
            continue  # the last column would be empty
        width = math.ceil(text.head + columns * text.column(lines))
        height = math.ceil(rows * text.line + 1.4 * text.padding)
        if width <= canvas[0] and height <= canvas[1]:
            shapes.append((columns, width, height))
    return shapes


def _place(
    canvas: Size,
    face: Rect,
    shapes: Sequence[tuple[int, int, int]],
    faces: Sequence[Rect],
    panels: Sequence[Rect],
    margin: float,
) -> tuple[int, Rect] | None:
    """Return columns and rectangle of a face's panel where it is best, or None if none is good.

    Of the shapes the first are preferred. `faces` are the others, `panels` have a place already,
    and `margin` are the pixels to keep from the face.
    """
    obstacles = [*faces, *panels]
    tried: list[tuple[float, int, Rect]] = []
    for index, (columns, width, height) in enumerate(shapes):
        for left, top in _places(canvas, face, (width, height), margin):
            rect: Rect = (left, top, left + width, top + height)
            size = max(area(rect), 1.0)
            hidden = _hidden(rect, obstacles) / size
            cost = _OWN * shared(rect, face) / size + _OTHERS * hidden
            cost += 2.0 * gap(rect, face) / max(canvas) + 0.1 * index
            # A face alone in the photo may be covered: there may be no room beside it.
            own = shared(rect, face) / max(area(face), 1.0) if faces else 0.0
            if hidden <= _MAX_HIDDEN and own <= _MAX_OWN:
                tried.append((cost, columns, rect))
    for _, columns, rect in sorted(tried, key=lambda one: one[0]):
        if not any(_crosses(leader(rect, face), other) for other in faces):
            return columns, rect
    return None


def _hidden(rect: Rect, obstacles: Sequence[Rect]) -> float:
    """Return the area of `rect` on the obstacles; written out because it runs most often."""
    left, top, right, bottom = rect
    return sum(
        (min(right, x1) - max(left, x0)) * (min(bottom, y1) - max(top, y0))
        for x0, y0, x1, y1 in obstacles
        if x0 < right and x1 > left and y0 < bottom and y1 > top
    )


def leader(rect: Rect, face: Rect) -> Rect:
    """Return the line from a panel to its face: x and y of its start, x and y of its end."""
    (x0, x1), (y0, y1) = (_nearest(rect[i::2], face[i::2]) for i in (0, 1))
    return x0, y0, x1, y1


def _nearest(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return the nearest points of two ranges on one axis."""
    middle, end = (other[0] + other[1]) / 2, (one[0] + one[1]) / 2
    return min(max(middle, one[0]), one[1]), min(max(end, other[0]), other[1])


def _crosses(line: Rect, face: Rect) -> bool:
    """Return True if a line runs over a face, sampled in steps."""
    x0, y0, x1, y1 = line
    steps = [i / 24 for i in range(25)]
    points = ((x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in steps)
    return any(face[0] < x < face[2] and face[1] < y < face[3] for x, y in points)


def _places(canvas: Size, face: Rect, size: Size, margin: float) -> Iterator[tuple[int, int]]:
    """Yield left top corners to try, inside the canvas: next to the face first, then a grid."""
    width, height = size
    most_left, most_top = canvas[0] - width, canvas[1] - height
    left, top, right, bottom = face
    middle_x, middle_y = (left + right - width) / 2, (top + bottom - height) / 2
    columns, rows = (left, middle_x, right - width), (top, middle_y, bottom - height)
    beside = itertools.product((right + margin, left - margin - width), rows)
    above_below = [(x, y) for y in (bottom + margin, top - margin - height) for x in columns]
    shares = [i / (_GRID - 1) for i in range(_GRID)]
    grid = [(most_left * x, most_top * y) for x, y in itertools.product(shares, shares)]
    for x, y in (*beside, *above_below, *grid):
        yield round(min(max(x, 0), most_left)), round(min(max(y, 0), most_top))
