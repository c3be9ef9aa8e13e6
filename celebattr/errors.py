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

import contextlib
import enum
from collections.abc import Iterable, Iterator


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


def printable(text: str, *, ascii_only: bool = False) -> str:
    r"""Return text on one line with unprintable characters escaped, as in `\x1b`.

    So are bytes of a name that are not UTF-8, as in `\xff`, and the rest of Unicode if asked.
    """
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    return "".join(
        c if c.isprintable() and (c.isascii() or not ascii_only) else _escaped(c) for c in text
    )


def _escaped(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def escaped(text: str) -> str:
    """Return a text without codes for a terminal: its lines stay, the rest is `printable`."""
    return "\n".join(map(printable, text.split("\n")))


def counted(number: int, noun: str, several: str = "") -> str:
    """Return a number with its noun: `1 input`, `2,000 inputs`."""
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a ' Did you mean ...?' for a mistyped word, or an empty string."""
    import difflib  # only the mistaken wait for it

    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f" Did you mean {lowered[close[0]]}?" if close else ""


def reason(error: BaseException, most: int = 200) -> str:
    """Return why something failed: the system's words or the message, on one line, shortened.

    Unprintable characters are escaped: libraries quote the file that they could not read.
    """
    text = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
    return printable(" ".join(text[:4096].split()))[:most] or type(error).__name__


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
        super().__init__(f"stopped after {counted(failures, 'failure')}")


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


@contextlib.contextmanager
def needs(extra: str, package: str = "") -> Iterator[None]:
    """Turn an import that fails within the block into the error that names what to install.

    Args:
        extra: of this package, which brings what is imported.
        package: its name for pip, where that is not the module's.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        name = package or str(error.name).partition(".")[0]
        raise MissingExtraError(name, extra) from error
