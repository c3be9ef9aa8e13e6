"""Where the files that come with celebattr lie: weights, in a checkout or inside the wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def weights_folder() -> Path:
    """The folder of shipped weights: `weights/` of the checkout, or the copy in the wheel."""
    inside = PACKAGE / "weights"
    return inside if inside.is_dir() else PACKAGE.parent / "weights"
