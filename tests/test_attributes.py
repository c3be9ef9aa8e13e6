from __future__ import annotations

from pathlib import Path

import pytest

from celebattr.attributes import (
    CELEBA,
    RULES,
    Rule,
    join_names,
    parse_thresholds,
    reliability,
    rules_of,
    select,
)
from celebattr.data.layouts.load import load_dataset
from celebattr.errors import UsageError
from celebattr.models.decisions import contradictions


def test_rules_are_between_two_of_the_40_and_each_stands_once() -> None:
    pairs = [frozenset((rule.first, rule.second)) for rule in RULES]
    assert all(len(pair) == 2 and pair <= set(CELEBA) for pair in pairs)
    assert len(set(pairs)) == len(pairs)


def test_a_rule_has_a_name_for_a_person() -> None:
    assert Rule("No_Beard", "Goatee").name == "No_Beard with Goatee"
    assert Rule("Bald", "Wavy_Hair", second_present=False).name == "Bald without Wavy_Hair"


def test_only_rules_hold_of_which_both_attributes_are_known() -> None:
    assert rules_of(CELEBA) == RULES
    assert rules_of(["Goatee", "Smiling", "No_Beard"]) == (Rule("No_Beard", "Goatee"),)
    assert rules_of(["Bald", "Male", "Round_Face"]) == ()


def test_each_label_of_celeba_has_a_reliability_and_others_have_none() -> None:
    shares = {name: reliability(name) for name in CELEBA}
    assert all(share is not None and 0.8 < share <= 1.0 for share in shares.values())
    assert shares["Eyeglasses"] == 1.0
    assert min(CELEBA, key=lambda name: shares[name] or 0.0) == "Pointy_Nose"
    assert reliability("Round_Face") is None


@pytest.mark.celeba
@pytest.mark.parametrize("split", ["train", "validation"])
def test_labels_hardly_ever_break_a_rule(real_data: Path, split: str) -> None:
    images = load_dataset((real_data / "celeba",)).split(split)
    labels_NA = images.targets_NA == 1
    broken_R = contradictions(labels_NA, images.attributes, RULES).sum(axis=0)
    for rule, broken in zip(RULES, broken_R, strict=True):
        column = {name: labels_NA[:, images.attributes.index(name)] for name in CELEBA}
        first = column[rule.first].sum()
        second = (column[rule.second] == rule.second_present).sum()
        assert broken < 0.05 * min(first, second), rule.name


@pytest.mark.parametrize(
    "typed", ["Wearing Hat", "wearing_hat", "WEARING-HAT", " wearing  hat ", '"Wearing Hat"']
)
def test_a_name_is_accepted_as_it_is_shown(typed: str) -> None:
    assert select(f"{typed},Smiling", CELEBA) == ["Wearing_Hat", "Smiling"]


def test_a_name_with_a_comma_is_quoted_and_an_exact_name_comes_first() -> None:
    known = ("Hat, big", "a-b", "a b", "Smiling")
    assert select('smiling, "hat, BIG"', known) == ["Smiling", "Hat, big"]
    assert select("a-b,a b", known) == ["a-b", "a b"]
    assert select(join_names(known), known) == list(known)
    assert select(["Hat, big"], known) == ["Hat, big"]


@pytest.mark.parametrize("typed", ["", "Smiling,", "Hat\nSmiling", "Smilling"])
def test_what_is_no_name_is_refused(typed: str) -> None:
    with pytest.raises(UsageError):
        select(typed, CELEBA)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("0.7", 0.7),
        (0.7, 0.7),
        ("Smiling=0.7,Bald=1", {"Smiling": 0.7, "Bald": 1.0}),
        ('"has glasses, dark"=.5, a=b=0.2', {"has glasses, dark": 0.5, "a=b": 0.2}),
    ],
)
def test_thresholds_are_one_or_some_by_name(typed: str | float, meant: object) -> None:
    assert parse_thresholds(typed) == meant


@pytest.mark.parametrize("typed", ["", "1.2", "nan", "0.5,0.6", "A", "A=2", "A=1,A=0", "A=1,0.5"])
def test_what_is_no_threshold_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="neither P nor NAME=P"):
        parse_thresholds(typed)
