"""Exceptions, and the exit code that each kind ends the program with.

    CelebattrError
    ├── UsageError          2  the command line asks for something that is not possible
    ├── DataError           3  a data set, a list or an output file cannot be read or written
    │   └── ImageError      3  one image cannot be opened
    │       ├── UnreadableImageError    its bytes are not an image we accept
    │       ├── ImageTooLargeError      more pixels than the limit
    │       ├── ImageNotFoundError      there is no such file
    │       └── NoFaceError             no face was found in it, and `strict` asks for one
    │   └── TooManyFailuresError    6  more inputs failed than `max_failures` allows
    ├── WeightsError        4  a bundle is missing, damaged or not a bundle
    └── DeviceError         5  the device asked for is not there
        └── MissingExtraError   5  an optional dependency is not installed

Any other exception is a bug (exit code 1). Also 6: everything was done but some inputs failed (a
photo without a face is an answer, and failed only with --strict); 130: interrupted from the
keyboard.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of every command."""

    OK = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    WEIGHTS = 4
    DEVICE = 5
    SOME_FAILED = 6
    INTERRUPTED = 130


def printable(text: str) -> str:
    r"""Return text on one line with unprintable characters escaped, as in `\x1b`.

    At most 4,096 characters of it: it goes into a cell.
    """
    text = text[:4096]
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class CelebattrError(Exception):
    """Base of the errors a user can cause; the message says what, where and what to do."""

    exit_code = ExitCode.BUG


class UsageError(CelebattrError):
    """The command line asks for something that is not possible."""

    exit_code = ExitCode.USAGE


class DataError(CelebattrError):
    """A data set, a list or an output file cannot be read or written."""

    exit_code = ExitCode.DATA


class ImageError(DataError):
    """An image that cannot be opened; `status` is that of its failure row."""

    status = "unreadable"


class UnreadableImageError(ImageError):
    """The bytes are not an image, or not one of the accepted formats, or truncated."""

    status = "unreadable"


class ImageTooLargeError(ImageError):
    """The image has more pixels than the limit."""

    status = "too_large"


class ImageNotFoundError(ImageError):
    """There is no such file."""

    status = "not_found"


class NoFaceError(ImageError):
    """No face was found in the image, and `strict` asks for one."""

    status = "no_face"


class TooManyFailuresError(DataError):
    """More inputs failed than `max_failures` allows."""

    exit_code = ExitCode.SOME_FAILED

    def __init__(self, failures: int) -> None:
        super().__init__(f"stopped after {failures:,} failures")


class WeightsError(CelebattrError):
    """A bundle is missing, damaged, or not a bundle."""

    exit_code = ExitCode.WEIGHTS


class DeviceError(CelebattrError):
    """The device asked for is not there."""

    exit_code = ExitCode.DEVICE


class MissingExtraError(DeviceError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"this needs {package}, which is not installed. "
            f"Install it with: pip install 'celebattr[{extra}]'"
        )
