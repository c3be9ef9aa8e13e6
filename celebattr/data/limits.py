"""What one photo may have at most. No imports: who lists photos need not be able to open them."""

from __future__ import annotations

MAX_PIXELS = 89_478_485
"""Pixels an image may have, before it is decoded: a quarter of a GiB of RGB. Pillow's own limit."""

MAX_NAME = 1 << 15
"""Characters of a listed name; the rest is cut off. No system has such names, and Python's reader
of CSV refuses cells of four times as many."""

MAX_BYTES = 1 << 28
"""Bytes a file may have, before it is read: as many as the most pixels take without compression."""
