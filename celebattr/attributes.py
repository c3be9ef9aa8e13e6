"""The 40 face attributes of CelebA, in CelebA's order.

Source: Liu, Luo, Wang, Tang, "Deep Learning Face Attributes in the Wild", ICCV 2015; the header
line of `list_attr_celeba.txt`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from celebattr.errors import UsageError, suggestion

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

REPEATED = 359
"""Pictures that CelebA has twice, each time with labels of its own, among 47,069 of its images."""

_ALIKE: dict[str, int] = {
    "5_o_Clock_Shadow": 352,
    "Arched_Eyebrows": 338,
    "Attractive": 325,
    "Bags_Under_Eyes": 333,
    "Bald": 358,
    "Bangs": 350,
    "Big_Lips": 320,
    "Big_Nose": 339,
    "Black_Hair": 341,
    "Blond_Hair": 350,
    "Blurry": 349,
    "Brown_Hair": 330,
    "Bushy_Eyebrows": 338,
    "Chubby": 346,
    "Double_Chin": 348,
    "Eyeglasses": 359,
    "Goatee": 353,
    "Gray_Hair": 358,
    "Heavy_Makeup": 335,
    "High_Cheekbones": 339,
    "Male": 359,
    "Mouth_Slightly_Open": 344,
    "Mustache": 353,
    "Narrow_Eyes": 341,
    "No_Beard": 355,
    "Oval_Face": 339,
    "Pale_Skin": 353,
    "Pointy_Nose": 295,
    "Receding_Hairline": 342,
    "Rosy_Cheeks": 343,
    "Sideburns": 353,
    "Smiling": 351,
    "Straight_Hair": 326,
    "Wavy_Hair": 329,
    "Wearing_Earrings": 338,
    "Wearing_Hat": 358,
    "Wearing_Lipstick": 346,
    "Wearing_Necklace": 344,
    "Wearing_Necktie": 352,
    "Young": 342,
}
"""Pairs among them with the same label both times (`python benchmarks/label_agreement.py`)."""


def reliability(name: str) -> float | None:
    """Return the share of pictures labelled twice whose two labels agree, 0.8 to 1.

    An upper bound of how reliable a label is: the same people may have labelled both copies. None
    for an attribute that is not CelebA's.
    """
    return _ALIKE[name] / REPEATED if name in _ALIKE else None


@dataclass(frozen=True)
class Rule:
    """A contradiction: `first` is present, and `second` is too (or is not)."""

    first: str
    second: str
    second_present: bool = True

    @property
    def name(self) -> str:
        """The rule in words: "No_Beard with Goatee", "Heavy_Makeup without Wearing_Lipstick"."""
        return f"{self.first} {'with' if self.second_present else 'without'} {self.second}"


RULES: tuple[Rule, ...] = (
    *(Rule("Black_Hair", other) for other in ("Blond_Hair", "Brown_Hair", "Gray_Hair")),
    *(Rule("Brown_Hair", other) for other in ("Blond_Hair", "Gray_Hair")),
    Rule("Straight_Hair", "Wavy_Hair"),
    *(Rule("Bald", hair) for hair in ("Black_Hair", "Blond_Hair", "Brown_Hair")),
    *(Rule("Bald", hair) for hair in ("Straight_Hair", "Wavy_Hair", "Bangs", "Wearing_Hat")),
    *(Rule("Receding_Hairline", cover) for cover in ("Bangs", "Wearing_Hat")),
    *(Rule("No_Beard", beard) for beard in ("Goatee", "Mustache", "Sideburns")),
    Rule("Heavy_Makeup", "Wearing_Lipstick", second_present=False),
)
"""Pairs that one picture can hardly show: the words exclude each other, or one hides the other.

Of each, labels show both in less than 5 % of the images of the rarer (in 17,256 training images of
CelebA: 3.4 % of Straight_Hair is Wavy_Hair too, the most). Where labels do not bear out what the
words suggest, there is no rule: 28 % of 5_o_Clock_Shadow has No_Beard, 18 % of Bald Gray_Hair, 30 %
of Bald a Receding_Hairline, 9 % of Gray_Hair Blond_Hair, and 13 % of those with a beard none of its
kinds. Nor is there one from hair, make-up or clothes to Male or Young: those are habits of the
people in the photos, not contradictions.

Source: the idea is of Wu, Bezold, Bhatta, Bowyer, "Logical Consistency and Greater Descriptive
Power for Facial Hair Attribute Learning", CVPR 2023; the rules are our own.
"""


def rules_of(attributes: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules whose two attributes are both among these."""
    known = set(attributes)
    return tuple(rule for rule in RULES if {rule.first, rule.second} <= known)


def key_of(name: str) -> str:
    """Return a name without case, and with one underscore for spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "_", name.strip()).casefold()


def join_names(names: Iterable[str]) -> str:
    """Join names with commas, as `select` takes them: a name that holds a comma is quoted."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(names)
    return line.getvalue()


def split_names(text: str) -> list[str]:
    """Split a text at its commas, as a CSV: what holds one stands in double quotes."""
    try:
        return next(csv.reader([text], skipinitialspace=True), []) or [text]
    except csv.Error as error:
        raise UsageError(f"{text!r} is no list of attributes: {error}") from error


def parse_thresholds(asked: str | float) -> float | dict[str, float]:
    """Parse "0.7", one threshold for all attributes, or "Smiling=0.7,Bald=0.3", those of some.

    Raises:
        UsageError: it is neither, a name stands twice, or a threshold is outside 0 to 1.
    """
    pairs = [word.rpartition("=") for word in split_names(str(asked))]
    try:
        named = {name.strip(): float(value) for name, _, value in pairs}
    except ValueError:
        named = {}
    once = len(named) == len(pairs) and ("" not in named or len(pairs) == 1)
    if not (once and all(0.0 <= value <= 1.0 for value in named.values())):
        raise UsageError(
            f"--threshold {str(asked)!r} is neither P nor NAME=P,NAME=P, with each name once and P "
            "from 0 to 1, for example 0.6 or Smiling=0.7,Bald=0.3"
        )
    return named.get("", named)


def select(asked: str | Sequence[str], known: Sequence[str]) -> list[str]:
    """Resolve attribute names as a user types them: wearing_hat, "Wearing Hat" or WEARING-HAT.

    Args:
        asked: names, or a text of them with commas between; as in a CSV, a name that itself holds
            a comma stands in double quotes.
        known: names that there are.

    Returns:
        The names as `known` spells them, in the order asked, each once.

    Raises:
        UsageError: a name is not among `known`.
    """
    asked = split_names(asked) if isinstance(asked, str) else asked
    spelled = {key_of(name): name for name in known} | {name: name for name in known}
    chosen: list[str] = []
    for word in map(str.strip, asked):
        name = spelled.get(word) or spelled.get(key_of(word))
        if name is None:
            raise UsageError(
                f"unknown attribute {word!r}.{suggestion(word, known)} Known: {', '.join(known)}"
            )
        if name not in chosen:
            chosen.append(name)
    return chosen
