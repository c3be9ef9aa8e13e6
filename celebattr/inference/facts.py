"""What all rows of a scoring run have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Facts:
    """A bundle, and what the options of `celebattr predict` make of it.

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
        """From JSON, which has no tuples."""
        never = tuple(told["never_present"])
        return cls(told["name"], told["sha256"], tuple(told["attributes"]), never)
