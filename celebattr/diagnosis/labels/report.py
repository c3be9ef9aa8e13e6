"""Results of a search for wrong labels."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Suspect:
    """A label that is likely wrong.

    Attributes:
        image: its name, as in the lists.
        split: train, validation or test.
        label: whether the list says that the attribute is present.
        probability: that it is, by the network.
        score: the probability of the other value: the higher, the likelier the label is wrong.
        rank: among the suspects of its attribute, from 1.
        reasons: why it is suspected, for a person, for instance "the network" or
            "contradicts No_Beard".
        jpeg: a small picture, for the first of each attribute if a page is written.
    """

    image: str
    split: str
    attribute: str
    label: bool
    probability: float
    score: float
    rank: int
    reasons: tuple[str, ...]
    jpeg: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class LabelEstimate:
    """Estimated label errors of an attribute in a split, by confident learning.

    Attributes:
        images, positives: of the split.
        error_rate: estimated share of wrong labels, with its 95 % `interval` over people; None
            where all labels are alike.
        wrongly_absent, wrongly_present: the same share by what the label says.
        suspects: labels that are named.
    """

    attribute: str
    split: str
    images: int
    positives: int
    error_rate: float | None
    interval: tuple[float, float] | None
    wrongly_absent: float | None
    wrongly_present: float | None
    suspects: int


@dataclass(frozen=True)
class LabelReport:
    """The labels of a data set that are likely wrong.

    Attributes:
        data: the data set, for a person.
        source: where the probabilities come from: name of a bundle or of a file.
        images: how many were looked at, by split.
        people: how many different people they show, or None where that is not known.
        estimates: one per attribute and split, attributes in the order of the data.
        suspects: by attribute, most likely wrong first.
        contradictions: how many images break each rule, by the rule's name.
        duplicates: pairs of nearly equal pictures whose labels differ; None if not looked for.
        notes: what to know before believing it, sentences.
    """

    data: str
    source: str
    images: dict[str, int]
    people: int | None
    estimates: tuple[LabelEstimate, ...]
    suspects: tuple[Suspect, ...]
    contradictions: dict[str, int]
    duplicates: int | None
    notes: tuple[str, ...]
