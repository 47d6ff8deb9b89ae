"""Three and more classes: figures against scikit-learn and slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    precision_score,
    roc_auc_score,
)
from statsmodels.stats.proportion import proportion_confint

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.intervals import resample_patients
from mri_transfer.metrics.multiclass import multiclass_metrics

CLASSES = ("CN", "MCI", "AD")


def generator(name):
    return np.random.default_rng(sum(name.encode()))


def draw(seed=0, counts=(30, 20, 14), repeats=2, effect=1.2, levels=None):
    rng = np.random.default_rng(seed)
    k = len(counts)
    truth = rng.permutation(np.repeat(np.arange(k), counts))
    logits = effect * np.eye(k)[truth] + rng.standard_normal((len(truth), k))
    logits = logits + 0.4 * rng.standard_normal((repeats, len(truth), k))
    if levels is not None:
        logits = np.round(logits * levels) / levels
    chances = np.exp(logits)
    names = np.array(CLASSES if k == 3 else [f"c{i}" for i in range(k)], dtype=object)
    return names[truth], chances / chances.sum(axis=2, keepdims=True)


def metrics(labels, probabilities, classes=CLASSES, n_samples=50, **settings):
    return multiclass_metrics(
        labels, probabilities, classes, n_samples=n_samples, rng=generator, **settings
    )


@pytest.mark.parametrize("levels", [None, 1])
def test_areas_are_those_of_scikit_learn(levels):
    labels, probabilities = draw(levels=levels)
    truth = np.array([CLASSES.index(label) for label in labels])
    macro = metrics(labels, probabilities).macro
    for name, mode in (("auc", "ovr"), ("auc_hand_till", "ovo")):
        expected = [roc_auc_score(truth, row, multi_class=mode) for row in probabilities]
        assert getattr(macro, name).value == pytest.approx(np.mean(expected))


def test_calls_and_losses_are_those_of_scikit_learn():
    labels, probabilities = draw(1)
    found = metrics(labels, probabilities)
    called = np.array(CLASSES, dtype=object)[probabilities.argmax(axis=2)]
    truth = list(labels)
    matrices = [confusion_matrix(truth, list(row), labels=list(CLASSES)) for row in called]
    np.testing.assert_allclose(found.confusion, np.mean(matrices, axis=0))
    macro = found.macro
    assert macro.balanced_accuracy.value == pytest.approx(
        np.mean([balanced_accuracy_score(truth, list(row)) for row in called])
    )
    assert macro.accuracy.value == pytest.approx((called == labels).mean())
    numbers = [CLASSES.index(label) for label in labels]
    assert macro.log_loss.value == pytest.approx(
        np.mean([log_loss(numbers, row) for row in probabilities])
    )
    one = metrics(labels, probabilities[:1])
    for number, name in enumerate(CLASSES):
        expected = precision_score(truth, list(called[0]), labels=list(CLASSES), average=None)
        assert one.one_vs_rest[name].precision.value == pytest.approx(expected[number])


def test_brier_score_follows_the_definition():
    labels, probabilities = draw(2, counts=(4, 3, 3), repeats=2)
    total = 0.0
    for row in probabilities:
        for label, chances in zip(labels, row, strict=True):
            for name, chance in zip(CLASSES, chances, strict=True):
                total += (chance - (name == label)) ** 2
    assert metrics(labels, probabilities).macro.brier.value == pytest.approx(total / 20)


def test_one_class_against_the_rest_is_the_two_class_evaluation():
    labels, probabilities = draw(3)
    found = metrics(labels, probabilities, confidence=0.9).one_vs_rest["MCI"]
    truth = (labels == "MCI").astype(int)
    expected = delong_auc(truth, probabilities[:, :, 1], confidence=0.9).estimate
    assert found.auc == expected
    called = probabilities.argmax(axis=2) == 1
    right = (called & (truth == 1)).sum() / 2
    low, high = proportion_confint(right, 20, alpha=0.1, method="beta")
    assert found.sensitivity.value == pytest.approx(right / 20)
    assert (found.sensitivity.ci_low, found.sensitivity.ci_high) == (
        pytest.approx(low), pytest.approx(high),
    )  # fmt: skip
    clear = (~called & (truth == 0)).sum() / 2
    assert found.specificity.value == pytest.approx(clear / 44)


@pytest.mark.parametrize(("name", "multi_class"), [("auc", "ovr"), ("auc_hand_till", "ovo")])
def test_the_intervals_resample_patients_within_their_class(name, multi_class):
    labels, probabilities = draw(4)
    truth = np.array([CLASSES.index(label) for label in labels])
    drawn = resample_patients(truth, n_samples=40, rng=generator(f"multiclass macro {name}"))
    slow = [
        np.mean([roc_auc_score(truth[row], p[row], multi_class=multi_class) for p in probabilities])
        for row in drawn
    ]
    found = getattr(metrics(labels, probabilities, n_samples=40).macro, name)
    expected = [float(q) for q in np.quantile(slow, [0.025, 0.975])]
    assert [found.ci_low, found.ci_high] == pytest.approx(expected)


def test_repeating_the_same_probabilities_narrows_nothing():
    labels, probabilities = draw(5, repeats=1)
    once, thrice = (
        metrics(labels, probabilities),
        metrics(labels, np.tile(probabilities, (3, 1, 1))),
    )
    for name, estimate in once.macro:
        for part in ("value", "ci_low", "ci_high", "n"):
            assert getattr(getattr(thrice.macro, name), part) == pytest.approx(
                getattr(estimate, part)
            )


def test_the_order_of_classes_changes_no_figure():
    labels, probabilities = draw(6)
    turned = metrics(labels, probabilities[:, :, ::-1], classes=CLASSES[::-1])
    found = metrics(labels, probabilities)
    for name in ("auc", "auc_hand_till", "accuracy", "balanced_accuracy", "brier", "log_loss"):
        assert getattr(turned.macro, name).value == pytest.approx(getattr(found.macro, name).value)
    np.testing.assert_allclose(np.array(turned.confusion)[::-1, ::-1], found.confusion)


def test_probabilities_without_knowledge_score_as_chance():
    labels = ["CN"] * 10 + ["MCI"] * 10 + ["AD"] * 10
    found = metrics(labels, np.full((30, 3), 1 / 3))
    assert found.macro.auc.value == 0.5
    assert found.macro.auc_hand_till.value == 0.5
    assert found.macro.brier.value == pytest.approx(2 / 3)
    assert found.macro.log_loss.value == pytest.approx(math.log(3))
    # Ties go to the first class.
    assert found.confusion == ((10.0, 0.0, 0.0),) * 3
    assert found.one_vs_rest["AD"].precision.reason == "no patient was called AD"


def test_a_perfect_prediction_keeps_honest_intervals_where_there_are_any():
    labels = ["CN"] * 10 + ["MCI"] * 8 + ["AD"] * 6
    found = metrics(labels, np.eye(3)[np.repeat([0, 1, 2], [10, 8, 6])])
    assert found.macro.auc.value == 1.0
    assert "same value" in found.macro.auc.reason
    halves = [1 - 0.025 ** (1 / n) for n in (10, 8, 6)]
    assert found.macro.balanced_accuracy.ci_low == pytest.approx(1 - math.hypot(*halves) / 3)
    assert found.one_vs_rest["AD"].auc.ci_low < 1.0
    assert found.macro.log_loss.value == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_class_of_fewer_than_two_patients_carries_a_reason(missing):
    labels, probabilities = draw(7, counts=(12, 10, missing))
    found = metrics(labels, probabilities)
    assert f"AD has {missing}" in found.macro.auc.reason
    assert f"AD has {missing}" in found.macro.auc_hand_till.reason
    assert found.one_vs_rest["AD"].auc.value is None
    assert found.one_vs_rest["CN"].auc.value is not None
    assert found.macro.accuracy.value is not None
    assert (found.macro.balanced_accuracy.value is None) == (missing == 0)
    assert found.n_patients == {"CN": 12, "MCI": 10, "AD": missing}


def test_five_classes():
    names = [f"c{i}" for i in range(5)]
    labels, probabilities = draw(8, counts=(9, 8, 7, 6, 5))
    found = metrics(labels, probabilities, classes=names)
    truth = [names.index(label) for label in labels]
    assert found.macro.auc_hand_till.value == pytest.approx(
        np.mean([roc_auc_score(truth, row, multi_class="ovo") for row in probabilities])
    )
    assert np.array(found.confusion).shape == (5, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y, p: (y, p, ("CN", "AD")), "three or more"),
        (lambda y, p: (y, p, ("CN", "AD", "AD")), "three or more"),
        (lambda y, p: (y, p, ("CN", "MCI", "FTD")), "none of the classes"),
        (lambda y, p: (y[1:], p, CLASSES), "do not fit"),
        (lambda y, p: (y, p[:, :, :2], CLASSES), "do not fit"),
        (lambda y, p: (y, 0.9 * p, CLASSES), "add up to 1"),
        (lambda y, p: (y, p * np.array([np.nan, 1, 1]), CLASSES), "add up to 1"),
        (lambda y, p: (y, np.dstack([p[..., 0] - 2, p[..., 1] + 2, p[..., 2]]), CLASSES), "add up"),
        (lambda y, p: ([], np.empty((0, 3)), CLASSES), "no labels"),
    ],
)
def test_what_is_no_prediction_of_classes_is_refused(change, message):
    labels, probabilities, classes = change(*draw(9))
    with pytest.raises(EvaluationError, match=message):
        metrics(labels, probabilities, classes=classes)
