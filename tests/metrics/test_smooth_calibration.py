"""The smoothed calibration curve and its distances from the diagonal."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.intervals import resample_patients
from mri_transfer.metrics.smooth_calibration import smooth_calibration


def cohort(n=140, *, shift=0.0, slope=1.0, repeats=1, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = 1.4 * rng.standard_normal(n)
    labels = (rng.random(n) < expit(shift + slope * logits)).astype(int)
    return labels, expit(logits + noise * rng.standard_normal((repeats, n)))


def smooth(labels, scores, n_samples=200, seed=0, **kwargs):
    return smooth_calibration(
        labels, scores, n_samples=n_samples, rng=np.random.default_rng(seed), **kwargs
    )


def rcspline(x, knots):
    """Hmisc's rcspline.eval with three knots and norm = 2, number by number."""
    first, middle, last = knots
    columns = []
    for value in x:
        curved = max(value - first, 0) ** 3
        curved -= max(value - middle, 0) ** 3 * (last - first) / (last - middle)
        curved += max(value - last, 0) ** 3 * (middle - first) / (last - middle)
        columns.append([1.0, value, curved / (last - first) ** 2])
    return np.array(columns)


@pytest.mark.parametrize("repeats", [1, 3])
def test_curve_and_distances_by_an_oracle_in_the_manner_of_r(repeats):
    # glm(y ~ rcs(logit(p), 3), binomial), then Austin and Steyerberg's figures in a slow loop.
    labels, scores = cohort(slope=0.6, shift=0.3, repeats=repeats, noise=0.2)
    x = logit(scores).ravel()
    knots = np.quantile(x, [0.1, 0.5, 0.9])
    model = sm.GLM(
        np.tile(labels, repeats), rcspline(x, knots), family=sm.families.Binomial()
    ).fit()
    curve, found = smooth(labels, scores)
    at_grid = model.predict(rcspline(logit(np.array(curve.predicted)), knots))
    assert curve.observed == pytest.approx(at_grid, abs=1e-4)
    gaps = sorted(
        abs(observed - score)
        for observed, score in zip(model.predict(rcspline(x, knots)), scores.ravel(), strict=True)
    )
    place = 0.9 * (len(gaps) - 1)  # R's default quantile
    lower = gaps[int(place)]
    e90 = lower + (place - int(place)) * (gaps[int(place) + 1] - lower)
    values = {name: estimate.value for name, estimate in found.items()}
    assert values["ici"] == pytest.approx(sum(gaps) / len(gaps), abs=1e-4)
    assert values["e50"] == pytest.approx(np.median(gaps), abs=1e-4)
    assert values["e90"] == pytest.approx(e90, abs=1e-4)
    assert values["emax"] == pytest.approx(gaps[-1], abs=2e-4)


def test_each_resample_is_a_weighted_fit_of_its_own():
    from mri_transfer.metrics.smooth_calibration import _fit

    labels, scores = cohort(60, slope=0.5, repeats=2, noise=0.3)
    rng = np.random.default_rng(1)
    terms = rcspline(logit(scores).ravel(), [-1.5, 0.0, 1.5])
    indices = rng.integers(60, size=(4, 60))
    found = _fit(terms, labels[None, :].astype(float), indices)
    for row, coefficients in zip(indices, found, strict=True):
        drawn = np.concatenate([row, row + 60])
        oracle = sm.GLM(np.tile(labels, 2)[drawn], terms[drawn], family=sm.families.Binomial())
        assert coefficients == pytest.approx(oracle.fit().params, abs=2e-3)


def test_fits_end_at_their_maximum_even_where_newton_alone_runs_away():
    from mri_transfer.metrics.smooth_calibration import _RIDGE, _fit, _Smoother

    rng = np.random.default_rng(0)
    for _ in range(40):
        logits = 2.0 * rng.standard_normal(20)
        labels = (rng.random(20) < expit(logits)).astype(float)
        rows = expit(logits)[None, :]
        terms = _Smoother.of(rows).terms(rows.ravel())
        indices = resample_patients(labels, n_samples=100, rng=rng)
        beta = _fit(terms, labels[None, :], indices)
        for row, coefficients in zip(indices, beta, strict=True):
            error = labels[row] - expit(terms[row] @ coefficients)
            assert np.abs(error @ terms[row] - _RIDGE * coefficients).max() < 1e-6


def test_large_cohorts_show_the_curve_they_were_drawn_from():
    curve, found = smooth(*cohort(20_000, slope=0.5, shift=0.4), n_samples=50)
    inside = [0.05 < p < 0.95 for p in curve.predicted]
    truth = expit(0.4 + 0.5 * logit(np.array(curve.predicted)[inside]))
    assert np.array(curve.observed)[inside] == pytest.approx(truth, abs=0.03)
    logits = 1.4 * np.random.default_rng(9).standard_normal(100_000)
    gaps = np.abs(expit(0.4 + 0.5 * logits) - expit(logits))
    assert found["ici"].value == pytest.approx(gaps.mean(), abs=0.01)
    assert found["e50"].value == pytest.approx(np.median(gaps), abs=0.01)
    assert found["ici"].ci_low < gaps.mean() < found["ici"].ci_high
    assert smooth(*cohort(20_000), n_samples=50)[1]["ici"].value < 0.012


def test_calibrated_scores_show_an_ici_by_chance_and_its_interval_reaches_0():
    _, found = smooth(*cohort(seed=3), n_samples=400)
    chance = found["ici_if_calibrated"]
    # Mean over 300 simulated cohorts of this kind: .046.
    assert chance.value == pytest.approx(0.046, abs=0.012)
    assert chance.ci_low < found["ici"].value < chance.ci_high
    assert found["ici"].ci_low == 0
    _, bad = smooth(*cohort(slope=0.1, seed=3), n_samples=400)
    assert bad["ici"].value > bad["ici_if_calibrated"].ci_high
    assert bad["ici"].ci_low > 0


def test_order_of_distances_and_of_limits():
    curve, found = smooth(*cohort(slope=0.4, repeats=2, noise=0.2), n_samples=300)
    assert found["ici"].value <= found["e90"].value <= found["emax"].value
    assert found["e50"].value <= found["e90"].value
    for name in ("ici", "e50", "e90", "emax"):
        assert 0 <= found[name].ci_low <= found[name].value <= found[name].ci_high
        assert found[name].n == 140
    assert (np.diff(curve.predicted) > 0).all()
    assert all(
        0 < low <= value <= high < 1
        for low, value, high in zip(curve.ci_low, curve.observed, curve.ci_high, strict=True)
    )


def test_repeating_the_same_scores_changes_nothing():
    labels, scores = cohort(slope=0.5, seed=6)
    (once, one), (thrice, three) = smooth(labels, scores), smooth(labels, np.repeat(scores, 3, 0))
    assert thrice.observed == pytest.approx(once.observed, abs=1e-4)
    assert thrice.ci_low == pytest.approx(once.ci_low, abs=1e-3)
    assert three["ici"].ci_high == pytest.approx(one["ici"].ci_high, abs=1e-3)


def test_ici_interval_covers_on_140_patients():
    rng = np.random.default_rng(7)
    logits = 1.4 * rng.standard_normal(100_000)
    labels, scores = rng.random(100_000) < expit(0.5 * logits), expit(logits)
    truth, hits = np.abs(expit(0.5 * logits) - scores).mean(), 0
    for _ in range(60):
        drawn = np.concatenate(
            [rng.choice(np.flatnonzero(labels == value), 70) for value in (False, True)]
        )
        found = smooth_calibration(
            labels[drawn].astype(int), scores[drawn], n_samples=100, rng=rng
        )[1]["ici"]
        hits += found.ci_low <= truth <= found.ci_high
    assert hits >= 53


@pytest.mark.parametrize(
    "scores",
    [
        [0.1, 0.2, 0.3, 0.35, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95],  # separate the labels
        [0.0] * 5 + [1.0] * 5,
        [0.3] * 9 + [0.7],
        [0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.35, 0.3, 0.2, 0.1],
    ],
)
def test_ten_patients_and_separated_labels_stay_finite_without_a_warning(scores):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curve, found = smooth([0] * 5 + [1] * 5, scores)
    assert np.isfinite(curve.observed).all()
    assert all(np.isfinite(estimate.value) for estimate in found.values())


def test_constant_scores_give_one_point_without_a_band():
    curve, found = smooth([1] * 30 + [0] * 10, [0.5] * 40)
    assert curve.predicted == (0.5,)
    assert curve.observed == pytest.approx((0.75,), abs=1e-4)
    assert curve.ci_low is None
    assert found["ici"].value == pytest.approx(0.25, abs=1e-4)
    assert found["ici"].ci_low is None
    assert "same value" in found["ici"].reason
    assert curve.reason


def test_documents_are_plain():
    entry = smooth(*cohort())[0].model_dump(mode="json")
    assert list(entry) == ["predicted", "observed", "ci_low", "ci_high", "method"]
    assert all(type(value) is float for value in entry["observed"] + entry["ci_low"])
    assert "200" in entry["method"]


def test_500_resamples_of_140_patients_and_3_repeats_take_seconds():
    start = time.process_time()
    smooth(*cohort(repeats=3, noise=0.2), n_samples=500)
    assert time.process_time() - start < 10


def test_what_is_no_probability_is_refused():
    with pytest.raises(EvaluationError, match="probabilities"):
        smooth([0, 1, 0], [0.1, 1.2, 0.4])
