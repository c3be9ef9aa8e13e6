"""celebattr tells which of CelebA's 40 face attributes a photo shows."""

from __future__ import annotations

__version__ = "0.1.0"
