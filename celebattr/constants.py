"""Sizes, names, limits and places that several rooms share. Imports nothing of the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

VERSION = "0.1.0"

REPORT_SCHEMA = 1
"""Version of the keys of an evaluation or of a search for wrong labels as JSON."""

CROP_SIZE: tuple[int, int] = (218, 178)
"""Height and width of CelebA's aligned crop, in pixels: every face is warped to it."""

TRAIN, VALIDATION, TEST = 0, 1, 2
SPLITS: dict[str, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
"""The splits by name, as CelebA's list of partitions numbers them."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
    | {".avif", ".jp2", ".j2k", ".jpx", ".jpf", ".heic", ".heif", ".hif", ".jxl"}
)
"""Suffixes that a folder is searched for, in lower case; a file named outright may have any. Some
cannot be opened (.jxl, and .heic without pillow-heif): they have a row that says so."""

UNOPENED_SUFFIXES: frozenset[str] = frozenset(
    {".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".webm", ".wmv"}
    | {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"}  # raw files of cameras
    | {".ai", ".eps", ".ico", ".pgm", ".ppm", ".psd", ".svg", ".svgz", ".tga", ".xcf"}
)
"""Suffixes of videos and pictures that are never opened: a folder's are counted."""

PEOPLE_COLUMNS = ("person", "person_id", "identity", "celeb_id")
"""Headers of the column that says who is shown, in label files."""

IMAGE_COLUMNS = ("image_id", "image", "path", "file", "filename", "file_name", "img_path")
"""Headers of the column that names the image, in lists of photos and in label files."""

MIN_SCORE, SURE_SCORE = 0.7, 0.9
"""Scores of the face detector: below the first no face is reported; below the second it may be no
face, or one on its side or upside down. 240 photos of one person each scored at least 0.84; in
groups faces down to 0.8; a clock 0.65; of photos without people, a dog 0.85. Of 240 upright photos
the main face scored below 0.9 in eight; the same photos upside down in all but a twentieth."""

MAX_PIXELS = 89_478_485
"""Pixels of an image before it is decoded: a quarter of a GiB of RGB. Pillow's own limit."""

MAX_NAME = 1 << 15
"""Characters of a listed name; the rest is cut off. No system has such names, and Python's reader
of CSV refuses cells of four times as many."""

MAX_BYTES = 1 << 28
"""Bytes of a file before it is read: as many as the most pixels take without compression."""

LIST_SEPARATOR = ";"
"""Separator of the names in the `present` and `unsure` columns of a CSV."""


def weights_folder() -> Path:
    """Return the folder of shipped weights: the checkout's `weights/`, or the wheel's."""
    package = Path(__file__).resolve().parent
    inside = package / "weights"
    return inside if inside.is_dir() else package.parent / "weights"


DEMO_PHOTO = Path(__file__).with_name("astronaut.webp")
"""A photograph in the public domain: NASA's portrait of the astronaut Eileen Collins."""

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
"""Choices of arithmetic."""

Progress = Callable[[int, int], None]
"""Function that is told how many images are done, and their total."""
