r"""Results of scoring: one `Prediction` per face, one `Failure` per input that gave none.

`row()` is the JSON form (schema 2), the same in every engine and format: every row has all of
`KEYS`, in this order, None where there is nothing. docs/scoring.md says what each of them means.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from celebattr.constants import LIST_SEPARATOR
from celebattr.errors import DataError

SCHEMA = 2
KEYS = (
    *("schema", "path", "path_bytes", "status", "error", "face", "faces", "time", "track"),
    *("box", "score", "probabilities", "present", "unsure"),
)
"""Keys of a row. `time` and `track` are those of a face in a video, None in a photo."""

NO_FACE = "no_face"
"""The `status` of a photo without a face, which is an answer."""
FAILURES: tuple[str, ...] = ("unreadable", "too_large", "not_found", "timeout", "not_finite")
"""Every other `status` besides "ok"."""


def name_of(path: str) -> tuple[str, str | None]:
    r"""Return `path` and `path_bytes` of a row: valid text, and base64 if the name is not UTF-8.

    A byte that is not UTF-8 is written as `\xff` in the text. So is a file name of these four
    characters, but its `path_bytes` is None: the two together tell any two names apart.
    """
    data = name_bytes(path)
    text = data.decode("utf-8", "backslashreplace")
    return text, None if text == path else base64.b64encode(data).decode()


def path_of(path: str, path_bytes: str | None) -> str:
    """Return the path of the input, which `os.fsencode` turns into its bytes, from a row's two."""
    if not path_bytes:
        return path
    return base64.b64decode(path_bytes).decode("utf-8", "surrogateescape")


def name_bytes(path: str) -> bytes:
    """Return the bytes of a name, which tell it from any other one on every system."""
    try:
        return path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character of UTF-16, as Windows has it in names
        return path.encode("utf-8", "surrogatepass")


def check_schema(found: Any, where: str) -> None:
    """Refuse rows, or a manifest, of another schema.

    Raises:
        DataError: they are.
    """
    if found == SCHEMA:
        return
    older = not isinstance(found, int) or found < SCHEMA
    remedy = "score the photos again, or use celebattr 0.1.0" if older else "update celebattr"
    raise DataError(f"{where} has schema {found}, this version reads schema {SCHEMA}: {remedy}")


def check_attributes(names: Iterable[str], where: str) -> None:
    """Refuse attributes whose names cannot be told apart in the lists of a CSV.

    Raises:
        DataError: a name holds the separator; `where` is the file that has it.
    """
    for name in names:
        if LIST_SEPARATOR in name:
            raise DataError(
                f"{where}: the attribute {name!r} has a {LIST_SEPARATOR!r} in its name, which "
                "separates names in a CSV: rename it"
            )


def _row(path: str, **values: Any) -> dict[str, Any]:
    text, data = name_of(path)
    return dict.fromkeys(KEYS) | {"schema": SCHEMA, "path": text, "path_bytes": data} | values


@dataclass(frozen=True)
class Facts:
    """A bundle as used with the options of `celebattr predict`.

    Attributes:
        name, sha256: of the bundle.
        attributes: those that are reported, in order.
        never_present: those of them that the operating point rules out: no threshold has the
            precision that is asked for.
    """

    name: str
    sha256: str
    attributes: tuple[str, ...]
    never_present: tuple[str, ...] = ()

    @classmethod
    def of(cls, told: dict[str, Any]) -> Facts:
        """Build the facts from JSON, which has no tuples."""
        never = tuple(told["never_present"])
        return cls(told["name"], told["sha256"], tuple(told["attributes"]), never)


@dataclass(frozen=True)
class FaceBox:
    """A face in a photo: pixels of the upright photo, from its top left corner.

    `left` of the viewer. `score` is the detector's, between 0 and 1.
    """

    left: float
    top: float
    right: float
    bottom: float
    score: float


@dataclass(frozen=True)
class Prediction:
    """The attributes of one face.

    Attributes:
        path: the input as it was given.
        face: number of the face in its photo: 1 is the main face, the others follow by size.
        faces: how many faces were found in the photo.
        box: where the face is, or None where the whole image was taken as an aligned face.
        probabilities: calibrated, 0 to 1, one per attribute.
        present: attributes whose probability reaches their threshold.
        unsure: attributes whose decision, either way, is less likely right than the bundle's card
            asks for.
        to_frame: the two rows of the matrix from pixels of the photo (x, y, 1) to pixels of the
            aligned crop, one after the other; None where `box` is.
    """

    status: ClassVar[str] = "ok"

    path: str
    face: int
    faces: int
    box: FaceBox | None
    probabilities: dict[str, float]
    present: list[str]
    unsure: list[str]
    to_frame: tuple[float, ...] | None = None

    def row(self) -> dict[str, Any]:
        """Return the prediction as a JSON object of schema 2."""
        box = self.box
        corners = None if box is None else (box.left, box.top, box.right, box.bottom)
        return _row(
            self.path,
            status=self.status,
            face=self.face,
            faces=self.faces,
            box=None if corners is None else [round(v, 1) for v in corners],
            score=None if box is None else round(box.score, 4),
            probabilities={name: round(p, 4) for name, p in self.probabilities.items()},
            present=self.present,
            unsure=self.unsure,
        )


@dataclass(frozen=True)
class Failure:
    """An input that gave no prediction. `status` is `NO_FACE` or one of `FAILURES`."""

    path: str
    status: str
    error: str

    def row(self) -> dict[str, Any]:
        """Return the failure as a JSON object of schema 2."""
        faces = 0 if self.status == NO_FACE else None
        return _row(self.path, status=self.status, error=name_of(self.error)[0], faces=faces)


Result = Prediction | Failure
