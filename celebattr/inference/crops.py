"""Aligned crops of photos, as files: under `celebattr align` and the API."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath

from PIL import Image

from celebattr.errors import DataError, UsageError
from celebattr.inference.faces import Prepared, Preparer
from celebattr.inference.inputs.expand import expand
from celebattr.io.files import (
    StrPath,
    check_target,
    csv_line,
    paths_of,
    reporting,
    write_bytes,
    write_text,
)
from celebattr.io.prefetch import ordered_map

TABLE = "crops.csv"
COLUMNS = (
    *("crop", "path", "face", "status"),
    *("left", "top", "right", "bottom", "score"),
)


def align(
    photos: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    faces: str = "largest",
    workers: int = 2,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write the faces of photos as aligned crops of 178x218 pixels, and where they came from.

    Args:
        photos: photos, folders, globs, archives or lists.
        output: the folder to write to: a PNG per face, and `crops.csv`. Crops of the same names,
            which a run that was cut off left, are replaced.
        faces: largest or all.
        workers: threads that open photos.
        overwrite: replace crops and CSV of an earlier run.

    Returns:
        Photos by status, and how many `crops`.

    Raises:
        UsageError: `faces` is neither.
        DataError: there are no photos, or a file cannot be written or exists.
    """
    if faces not in ("largest", "all"):
        raise UsageError(f"--faces {faces!r} is neither largest nor all")
    output = Path(output)
    with reporting(output):
        output.mkdir(parents=True, exist_ok=True)
    check_target(output / TABLE, overwrite=overwrite)
    counts: Counter[str] = Counter()
    taken: set[str] = set()
    table = [csv_line(COLUMNS)]
    inputs = (item.ready() for item in expand(paths_of(photos)))
    for found in ordered_map(Preparer(faces), inputs, workers=workers, ahead=2 * workers):
        path, failure = found.input.path, found.failure
        counts["ok" if failure is None else failure.status] += 1
        if failure is not None:
            table.append(csv_line(["", path, "", failure.status, *[""] * 5]))
        for number in range(1, len(found.frames) + 1):
            name = _name(path, number, taken)
            _write(output / name, found, number - 1)
            box = found.boxes[number - 1]
            place = [""] * 5
            if box is not None:
                sides = (box.left, box.top, box.right, box.bottom)
                place = [*(f"{value:.1f}" for value in sides), f"{box.score:.3f}"]
            table.append(csv_line([name, path, number, "ok", *place]))
            counts["crops"] += 1
    if not counts:
        raise DataError("there are no photos to align")
    write_text(output / TABLE, "".join(table))
    return dict(counts)


def _name(path: str, number: int, taken: set[str]) -> str:
    """Return a name that no crop has yet: the photo's, and the number of a further face."""
    stem = PurePath(path.replace("\\", "/")).stem + (f"_{number}" if number > 1 else "")
    name, times = f"{stem}.png", 1
    while name.casefold() in taken:
        times += 1
        name = f"{stem}-{times}.png"
    taken.add(name.casefold())
    return name


def _write(path: Path, found: Prepared, at: int) -> None:
    written = io.BytesIO()
    Image.fromarray(found.frames[at]).save(written, "PNG")
    write_bytes(path, written.getvalue())
