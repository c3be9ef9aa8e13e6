"""Strips metadata from an image file before Pillow parses the bytes.

Pillow walks a file's structure in Python and keeps all the metadata it meets, so a few megabytes of
it, repeated or empty, cost seconds to minutes: Exif segments are joined in quadratic time, each
iCCP chunk is a decompression bomb of its own. Nothing of this is the picture, but the orientation
and one colour profile. It is left out before Pillow looks, and what cannot be left out is counted;
so neither garbage nor hugeness in metadata slows or breaks a picture that decodes.
"""

from __future__ import annotations

import re
import struct
import zlib

_MAX_PIECES = 200_000
"""Most chunks, segments or blocks of a file before and around its pixels."""

_MAX_TABLES = 64
"""Quantisation, Huffman and other tables of a JPEG before its pixels; 8 to 12 are usual."""

_MAX_APPS = 16
"""Segments of metadata that are kept of a JPEG: 1 MiB."""

_MAX_METADATA = 1 << 20
"""Bytes of one chunk of PNG metadata that is kept."""

_MAX_TAGS = 4096
"""Tags of a TIFF's first directory."""

_MAX_VALUES, _MAX_RATIONALS = 1 << 19, 1 << 12
"""Values of one TIFF tag, each a Python object: enough for 89 megapixels in tiles of 16x16."""

_JPEG_MARKER = re.compile(rb"\xff+([^\xff\x00])")
_JPEG_ALONE = frozenset({0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})  # no length follows
_JPEG_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # size and components
_JPEG_SCAN = 0xDA
_JPEG_COLOURS = frozenset({0xE0, 0xEE})  # JFIF's and Adobe's segments say which colours these are
_JPEG_ORIENTATION = (b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0")  # XMP

_JPEG_PROFILE = b"ICC_PROFILE\0"  # the colours; in parts of 64 kB, each with its number behind

_PNG_ONCE = frozenset({b"IHDR", b"PLTE", b"tRNS"})
_PNG_ORIENTATION = {  # kind of chunk: how it must begin to hold an orientation
    b"eXIf": b"",
    b"iTXt": b"XML:com.adobe.xmp\0",
    b"zTXt": b"Raw profile type exif\0",
    b"tEXt": b"Raw profile type exif\0",
}
_PNG_KIND = re.compile(rb"\w\w\w\w")

_GIF_BLOCK = re.compile(rb"[!,;]")


def sieve(data: bytes) -> bytes:
    """Return the bytes of an image file without metadata that its first frame does not need.

    Bytes of no accepted format, and of one without the problem, come back as they are.

    Raises:
        ValueError, IndexError, struct.error: the structure is broken, or absurd.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")):
        _check_tiff(data)
    return data


def _jpeg(data: bytes) -> bytes:
    kept = [data[:2]]
    place, frames, tables, apps = 2, 0, 0, 0
    for _ in range(_MAX_PIECES):
        found = _JPEG_MARKER.search(data, place)  # over junk, if any
        if found is None:
            break
        marker, place = found[1][0], found.end()
        if marker == _JPEG_SCAN:
            kept.append(data[place - 2 :])
            return b"".join(kept)
        if marker in _JPEG_ALONE:
            continue
        if marker < 0xC0:
            raise ValueError(f"unknown marker {marker:#x}")
        (length,) = struct.unpack_from(">H", data, place)
        segment = data[place - 2 : place + length]
        if length < 2 or len(segment) < length + 2:
            break
        place += length
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:  # an application's, or a comment
            of_use = marker in _JPEG_COLOURS or segment.startswith(_JPEG_ORIENTATION, 4)
            if marker == 0xE2 and len(segment) > 18 and segment.startswith(_JPEG_PROFILE, 4):
                of_use = True
            if of_use and apps < _MAX_APPS:
                apps += 1
                kept.append(segment)
            continue
        frames += marker in _JPEG_FRAME
        tables += 1
        if frames > 1 or tables > _MAX_TABLES:
            raise ValueError("too many headers")
        kept.append(segment)
    raise ValueError("no image data")


def _png(data: bytes) -> bytes:
    kept = [data[:8]]
    seen: set[bytes] = set()
    place = 8
    for _ in range(_MAX_PIECES):
        kind = data[place + 4 : place + 8]
        if not _PNG_KIND.match(kind):
            kept.append(data[place : place + 12])  # for the decoder to judge
            return b"".join(kept)
        body = place + 8
        end = body + int.from_bytes(data[place : place + 4], "big") + 4
        if kind == b"IDAT":
            kept.append(data[place:end])
        elif kind not in seen:
            begin = _PNG_ORIENTATION.get(kind)
            of_use = begin is not None and data.startswith(begin, body)
            if kind == b"iCCP":
                seen.add(kind)  # good or not: to look at many would take long
                of_use = _is_profile(data[body : min(end - 4, body + _MAX_METADATA)])
            if kind in _PNG_ONCE or (of_use and end - body <= _MAX_METADATA):
                seen.add(kind)
                kept.append(data[place:end])
        if kind == b"IEND":
            kept.append(data[place:end])
            return b"".join(kept)
        place = end
    raise ValueError(f"more than {_MAX_PIECES:,} chunks")


def _is_profile(chunk: bytes) -> bool:
    """Return True if a PNG's chunk holds a whole colour profile that is not too large."""
    name, _, rest = chunk.partition(b"\0")
    unpack = zlib.decompressobj()
    try:
        unpack.decompress(rest[1:], _MAX_METADATA - 1)
    except zlib.error:
        return False
    return bool(name) and rest[:1] == b"\0" and unpack.eof


def _gif(data: bytes) -> bytes:
    place = 13
    if data[10] & 0x80:  # a global palette
        place += 3 << ((data[10] & 7) + 1)
    header, control = data[:place], b""
    for _ in range(_MAX_PIECES):
        found = _GIF_BLOCK.search(data, place)  # over junk, if any
        if found is None or found[0] == b";":
            break
        start = found.start()
        if found[0] == b",":
            return header + control + data[start:]
        place = start + 2
        for _ in range(_MAX_PIECES):
            size = data[place]
            place += 1 + size
            if not size:
                break
        else:
            break
        if data[start + 1] == 0xF9:  # graphic control: which colour is transparent
            control = data[start:place]
    raise ValueError("no image data")


def _check_tiff(data: bytes) -> None:
    order = "<" if data.startswith(b"II") else ">"
    wide = data[2] == 43  # BigTIFF
    count_of, entry = (f"{order}Q", f"{order}HHQ8x") if wide else (f"{order}H", f"{order}HHL4x")
    (place,) = struct.unpack_from(f"{order}Q" if wide else f"{order}L", data, 8 if wide else 4)
    (tags,) = struct.unpack_from(count_of, data, place)
    if tags > _MAX_TAGS:
        raise ValueError(f"{tags:,} tags")
    place += struct.calcsize(count_of)
    for tag, kind, count in struct.iter_unpack(
        entry, data[place : place + tags * struct.calcsize(entry)]
    ):
        most = _MAX_RATIONALS if kind in (5, 10) else _MAX_VALUES
        # Bytes and texts stay whole; more values than the file has bytes are ignored by Pillow.
        if kind not in (1, 2, 7) and most < count <= len(data):
            raise ValueError(f"tag {tag} has {count:,} values")
