"""Metrics against scikit-learn, and against cases worked out by hand."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as oracle

from celebattr.errors import DataError
from celebattr.evaluation import metrics
from celebattr.evaluation.report import AttributeReport, EvalReport

Case = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]


def make_case(seed: int, images: int = 400, attributes: int = 6, *, digits: int = 6) -> Case:
    """Random probabilities that know something of the targets; few digits make many ties."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((images, attributes)) < np.linspace(0.1, 0.8, attributes)).astype(
        np.uint8
    )
    logits = rng.normal(size=targets.shape) + 1.5 * targets - 1.0
    probabilities = np.round(1.0 / (1.0 + np.exp(-logits)), digits).astype(np.float32)
    return probabilities, targets, probabilities >= 0.5


def make_report(case: Case, **options: Any) -> EvalReport:
    names = [f"a{i}" for i in range(case[1].shape[1])]
    return metrics.report(*case, names, split="test", weights="bundle", **options)


@pytest.mark.parametrize("digits", [6, 1], ids=["no ties", "ties"])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_attribute_agrees_with_scikit_learn(seed: int, digits: int) -> None:
    case = make_case(seed, digits=digits)
    for a, row in enumerate(make_report(case).attributes):
        p, t, d = (part[:, a] for part in case)
        assert row.positives == t.sum()
        assert row.accuracy == pytest.approx(oracle.accuracy_score(t, d), abs=1e-12)
        assert row.balanced_accuracy == pytest.approx(oracle.balanced_accuracy_score(t, d))
        assert row.f1 == pytest.approx(oracle.f1_score(t, d), abs=1e-12)
        assert row.average_precision == pytest.approx(
            oracle.average_precision_score(t, p), abs=1e-5
        )
        assert row.roc_auc == pytest.approx(oracle.roc_auc_score(t, p), abs=1e-5)
        assert row.majority_accuracy == max(t.mean(), 1.0 - t.mean())
        assert row.brier_score == pytest.approx(oracle.brier_score_loss(t, p))


def test_means_are_over_attributes_and_the_exact_match_ratio_over_images() -> None:
    p, t, d = case = make_case(3)
    report = make_report(case, images_per_second=12.5)
    assert report.images == 400
    assert (report.split, report.weights, report.images_per_second) == ("test", "bundle", 12.5)
    assert report.mean_attribute_accuracy == pytest.approx(1.0 - oracle.hamming_loss(t, d))
    assert report.exact_match_ratio == pytest.approx(oracle.accuracy_score(t, d))
    assert report.mean_f1 == pytest.approx(oracle.f1_score(t, d, average="macro"))
    assert report.mean_average_precision == pytest.approx(
        oracle.average_precision_score(t, p, average="macro"), abs=1e-5
    )
    assert report.mean_roc_auc == pytest.approx(
        oracle.roc_auc_score(t, p, average="macro"), abs=1e-5
    )
    for name in ("balanced_accuracy", "expected_calibration_error"):
        values = [getattr(row, name) for row in report.attributes]
        assert getattr(report, f"mean_{name}") == pytest.approx(math.fsum(values) / len(values))


def test_the_summary_is_the_report_in_short() -> None:
    case = make_case(4)
    report, summary = make_report(case), metrics.summary(*case)
    assert summary.mean_attribute_accuracy == pytest.approx(report.mean_attribute_accuracy)
    assert summary.mean_average_precision == report.mean_average_precision


def test_the_order_of_images_does_not_matter() -> None:
    p, t, d = make_case(5, digits=2)
    order = np.random.default_rng(0).permutation(len(p))
    one, other = make_report((p, t, d)), make_report((p[order], t[order], d[order]))
    assert _numbers(other) == pytest.approx(_numbers(one), abs=1e-9)


def test_the_order_of_attributes_does_not_matter() -> None:
    p, t, d = make_case(6)
    one, other = make_report((p, t, d)), make_report((p[:, ::-1], t[:, ::-1], d[:, ::-1]))
    assert _numbers(other) == pytest.approx(_numbers(one))
    assert [row.accuracy for row in other.attributes[::-1]] == [
        row.accuracy for row in one.attributes
    ]


def test_undefined_is_none_and_left_out_of_the_means() -> None:
    p, t, d = make_case(7, attributes=3)
    t[:, 0], t[:, 2] = 0, 1
    report = make_report((p, t, d))
    never, some, always = report.attributes
    assert never.average_precision is None
    assert never.f1 is None
    assert never.roc_auc is None
    assert never.balanced_accuracy is None
    assert always.roc_auc is None
    assert always.balanced_accuracy is None
    assert always.average_precision == 1.0
    assert always.f1 == pytest.approx(oracle.f1_score(t[:, 2], d[:, 2]))
    assert report.mean_roc_auc == some.roc_auc
    assert report.mean_balanced_accuracy == some.balanced_accuracy
    assert some.average_precision is not None
    assert report.mean_average_precision == pytest.approx((some.average_precision + 1.0) / 2.0)
    assert never.majority_accuracy == always.majority_accuracy == 1.0


def test_means_are_none_where_no_attribute_is_defined() -> None:
    p, t, d = make_case(8)
    report = make_report((p, np.zeros_like(t), d))
    assert report.mean_average_precision is None
    assert report.mean_roc_auc is None
    assert report.mean_f1 is None
    assert metrics.summary(p, np.zeros_like(t), d).mean_average_precision is None


def test_one_attribute_and_one_image_are_enough() -> None:
    p, t, d = make_case(9, images=50, attributes=1)
    assert make_report((p, t, d)).mean_roc_auc == pytest.approx(
        oracle.roc_auc_score(t[:, 0], p[:, 0]), abs=1e-5
    )
    assert make_report((p[:1], t[:1], d[:1])).images == 1


def test_calibration_error_by_hand() -> None:
    # Two images in the bin of 0.8 with one positive, two in the bin of 0.1 with none.
    p = np.array([[0.8], [0.8], [0.1], [0.1]])
    t = np.array([[1], [0], [0], [0]])
    assert metrics.calibration_error(p, t) == [pytest.approx((2 * 0.3 + 2 * 0.1) / 4)]


def test_calibration_error_counts_certainty_in_the_last_bin() -> None:
    # 0.96 and 1.0 share a bin: mean probability 0.98, half of them positive.
    p, t = np.array([[0.96], [1.0]]), np.array([[1], [0]])
    assert metrics.calibration_error(p, t) == [pytest.approx(0.48)]
    assert metrics.calibration_error(np.array([[0.0], [1.0]]), np.array([[0], [1]])) == [0.0]


def test_calibration_error_is_small_for_probabilities_that_are_true() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((50_000, 1))
    t = (rng.random(p.shape) < p).astype(np.uint8)
    assert metrics.calibration_error(p, t)[0] < 0.01
    assert metrics.calibration_error(p**3, t)[0] > 0.2


def test_saturated_and_constant_probabilities_are_no_trouble() -> None:
    t = np.array([[0, 1], [1, 0], [1, 1]], np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        perfect = make_report((t.astype(np.float32), t, t.astype(bool)))
        constant = make_report((np.full(t.shape, 0.5, np.float32), t, np.ones(t.shape, bool)))
    assert perfect.mean_average_precision == perfect.mean_roc_auc == perfect.mean_f1 == 1.0
    assert perfect.exact_match_ratio == 1.0
    assert constant.mean_roc_auc == pytest.approx(0.5)
    assert constant.mean_average_precision == pytest.approx(2 / 3)


def _without_images(case: Case) -> Case:
    return case[0][:0], case[1][:0], case[2][:0]


def _with_nan(case: Case) -> Case:
    case[0][2, 1] = np.nan
    return case


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_images, "at least one image"),
        (lambda c: (c[0][:-1], c[1], c[2]), r"shape \[399, 6\], targets \[400, 6\]"),
        (lambda c: (c[0], c[1], c[2][:, :-1]), r"shape \[400, 5\]"),
        (lambda c: (c[0], c[1], c[2].astype(int)), "must be bool"),
        (lambda c: (c[0], np.where(c[1], 1, -1), c[2]), "a target is -1"),
        (_with_nan, "nan at image 2, attribute 1"),
        (lambda c: (c[0] * 3.0, c[1], c[2]), "are these logits"),
    ],
    ids=["empty", "shapes", "decisions", "not bool", "targets -1", "nan", "logits"],
)
def test_what_cannot_be_measured_is_refused(spoil: Any, message: str) -> None:
    case = spoil(make_case(10))
    with pytest.raises(DataError, match=message):
        make_report(case)
    with pytest.raises(DataError, match=message):
        metrics.summary(*case)


def test_names_that_do_not_match_the_columns_are_refused() -> None:
    with pytest.raises(DataError, match="2 attribute names for 6 columns"):
        metrics.report(*make_case(11), ["a", "b"], split="test", weights="bundle")


@pytest.mark.long
def test_the_test_split_of_celeba_takes_seconds() -> None:
    case = make_case(12, images=20_000, attributes=40)
    started = time.process_time()
    make_report(case)
    assert time.process_time() - started < 40.0  # 8 s on a busy core


def _numbers(report: EvalReport) -> dict[str, float]:
    values = dataclasses.asdict(report)
    return {name: v for name, v in values.items() if isinstance(v, float)}


def test_the_report_fills_every_field_of_an_attribute() -> None:
    row = make_report(make_case(13)).attributes[0]
    for field in dataclasses.fields(AttributeReport):
        assert field.name == "curves" or getattr(row, field.name) is not None
