"""Findings of `doctor`: one row per finding, each with its severity and its remedy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

SCHEMA = 1
"""Version of the keys of `DoctorReport.to_json`."""

SEVERITIES: tuple[str, ...] = ("ok", "note", "warning", "problem")
"""Severities, lowest first. A problem stops training; after a warning its figures may not be
what they seem; a note is good to know."""

EXAMPLES = 3
"""Most names that a finding shows."""


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        severity: one of `SEVERITIES`.
        check: what was looked at, in one or two words, the same in every run.
        where: the folder, or the folders, as they were given: `examine` fills it in.
        what: what is the case.
        remedy: what to do; empty where nothing needs to be done.
        examples: names of images or files, of which the first `EXAMPLES` are kept.
    """

    severity: str
    check: str
    where: str = field(default="", kw_only=True)
    what: str
    remedy: str = ""
    examples: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "examples", tuple(self.examples[:EXAMPLES]))


@dataclass(frozen=True)
class SplitReport:
    """One split of one folder.

    Attributes:
        split: train, validation or test.
        images: rows of it.
        people: how many are shown, or None where that is not known.
        prevalence: share of the rows that show each attribute; empty without rows.
    """

    split: str
    images: int
    people: int | None
    prevalence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FolderReport:
    """One folder as it was read; `layout` is None where it could not be."""

    path: str
    layout: str | None
    splits: tuple[SplitReport, ...] = ()


@dataclass(frozen=True)
class DoctorReport:
    """All findings about the given folders.

    Attributes:
        folders: in the order in which they were given.
        findings: in the order in which they were made: by folder, then what concerns all of them.
        images_opened: how many images were decoded.
    """

    folders: tuple[FolderReport, ...]
    findings: tuple[Finding, ...]
    images_opened: int

    @property
    def trains(self) -> bool:
        """True if training would start."""
        return all(finding.severity != "problem" for finding in self.findings)

    def count(self, severity: str) -> int:
        """Return the number of findings of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_json(self) -> str:
        """Return all of it as one JSON object."""
        values = {"schema": SCHEMA, "trains": self.trains, **dataclasses.asdict(self)}
        return json.dumps(values, indent=2) + "\n"
