"""The 40 face attributes of CelebA, in CelebA's order.

Source: Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015; the header
line of `list_attr_celeba.txt`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from celebattr.errors import UsageError

CELEBA: tuple[str, ...] = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)

SUBJECTIVE: frozenset[str] = frozenset(
    {
        "Attractive",
        "Big_Lips",
        "Big_Nose",
        "Chubby",
        "High_Cheekbones",
        "Oval_Face",
        "Pointy_Nose",
        "Young",
    }
)
"""Attributes that are an annotator's taste or impression more than a fact in the picture."""

SENSITIVE: tuple[str, ...] = ("Male", "Young", "Pale_Skin")
"""Attributes that could be taken for a person's gender, age or origin: they describe pictures."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """A ' Did you mean ...?' for a mistyped word, or an empty string."""
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f" Did you mean {lowered[close[0]]}?" if close else ""


def select(asked: Sequence[str], known: Sequence[str]) -> list[str]:
    """Resolves attribute names as a user types them, ignoring case.

    Returns:
        The names as `known` spells them, in the order asked, each once.

    Raises:
        UsageError: a name is not among `known`.
    """
    by_lower = {name.lower(): name for name in known}
    chosen: list[str] = []
    for word in asked:
        name = by_lower.get(word.strip().lower())
        if name is None:
            raise UsageError(
                f"unknown attribute {word.strip()!r}.{suggestion(word, known)} "
                f"Known: {', '.join(known)}"
            )
        if name not in chosen:
            chosen.append(name)
    return chosen
