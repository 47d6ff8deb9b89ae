"""Decision curves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import dcurves
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.decision_curve import decision_curve
from mri_transfer.metrics.intervals import resample_patients


def cohort(n=100, repeats=2, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3 == 0
    scores = np.clip(0.25 + 0.3 * labels + 0.2 * rng.standard_normal((repeats, n)), 0, 1)
    return labels.astype(int), scores


def net_benefit(labels, scores, threshold):
    """Vickers and Elkin 2006, patient by patient."""
    true = sum(s >= threshold and y == 1 for y, s in zip(labels, scores, strict=True))
    false = sum(s >= threshold and y == 0 for y, s in zip(labels, scores, strict=True))
    return true / len(labels) - false / len(labels) * threshold / (1 - threshold)


def rng():
    return np.random.default_rng(0)


def test_the_published_example_of_dcurves():
    # df_binary of the package; figures of its R edition, tests/benchmark_data.
    table = pd.read_csv(Path(dcurves.data) / "df_binary.csv")
    labels = table["cancer"].to_numpy(dtype=int)
    age = sm.GLM(
        labels, sm.add_constant(table["age"].to_numpy()), family=sm.families.Binomial()
    ).fit()
    found = decision_curve(
        labels,
        table["famhistory"].to_numpy(dtype=float),
        thresholds=[0.05, 0.1, 0.2, 0.5],
        n_samples=100,
        rng=rng(),
        others={"age": age.predict()},
    )
    assert found.treat_all == pytest.approx(
        [0.09473684210526317, 0.04444444444444445, -0.075, -0.72]
    )
    assert found.treat_none == (0.0,) * 4
    family = [0.025614035087719297, 0.018518518518518517, 0.0016666666666666635, -0.0893333333333]
    assert [point.value for point in found.model] == pytest.approx(family)
    by_age = [0.09880701754385966, 0.0691851851851852, 0.042, 0.009333333333333336]
    assert found.others["age"].net_benefit == pytest.approx(by_age)


def test_values_by_a_slow_loop_and_means_over_repeats():
    labels, scores = cohort()
    other = cohort(repeats=1, seed=5)[1][0]
    grid = [0.1, 0.35, 0.7]
    found = decision_curve(
        labels, scores, thresholds=grid, n_samples=100, rng=rng(), others={"other": other}
    )
    assert found.thresholds == tuple(grid)
    for i, t in enumerate(grid):
        model = np.mean([net_benefit(labels, row, t) for row in scores])
        everybody = net_benefit(labels, np.ones(len(labels)), t)
        baseline = net_benefit(labels, other, t)
        assert found.model[i].value == pytest.approx(model)
        assert found.gain[i].value == pytest.approx(model - max(everybody, 0))
        assert found.others["other"].net_benefit[i] == pytest.approx(baseline)
        assert found.others["other"].difference[i].value == pytest.approx(model - baseline)


def test_what_is_resampled_equals_dcurves_exactly(monkeypatch):
    # The library's value replaces that of our own counts; here both are laid side by side.
    labels, scores = cohort(repeats=3)
    scores[0, :4] = [0.0, 1.0, 0.5, 0.05]  # scores on the thresholds and at the ends
    own, replace = [], dataclasses.replace

    def spy(estimate, **changes):
        if "value" in changes:
            own.append((estimate.value, changes["value"]))
        return replace(estimate, **changes)

    monkeypatch.setattr("mri_transfer.metrics.decision_curve.dataclasses.replace", spy)
    decision_curve(labels, scores, n_samples=100, rng=rng(), others={"b": scores[::-1] ** 2})
    assert len(own) == 3 * 19
    np.testing.assert_allclose(*np.array(own).T, atol=1e-12)


def test_band_is_that_of_resampled_patients():
    labels, scores = cohort()
    found = decision_curve(labels, scores, thresholds=[0.4], n_samples=300, rng=rng())
    seed = int(rng().integers(2**63))
    indices = resample_patients(labels, n_samples=300, rng=np.random.default_rng(seed))
    draws = [np.mean([net_benefit(labels[i], row[i], 0.4) for row in scores]) for i in indices]
    everybody = net_benefit(labels, np.ones(100), 0.4)
    for name, less in (("model", 0.0), ("gain", max(everybody, 0.0))):
        low, high = np.quantile(np.array(draws) - less, [0.025, 0.975])
        (point,) = getattr(found, name)
        assert (point.ci_low, point.ci_high) == pytest.approx((low, high))
        assert point.n == 100


def test_a_threshold_that_treats_everybody_has_no_band_but_a_reason():
    labels, scores = cohort()
    found = decision_curve(labels, scores / 2 + 0.5, thresholds=[0.3], n_samples=100, rng=rng())
    (gain,) = found.gain
    assert gain.value == pytest.approx(0)
    assert gain.ci_low is None
    assert "same value" in gain.reason


def test_a_model_against_itself_gains_nothing():
    labels, scores = cohort()
    found = decision_curve(labels, scores, n_samples=100, rng=rng(), others={"same": scores})
    assert found.thresholds == pytest.approx(np.arange(1, 20) / 20)
    for point in found.others["same"].difference:
        assert point.value == 0


@pytest.mark.parametrize("grid", [[], [0.0], [1.0], [0.5, float("nan")]])
def test_thresholds_that_are_no_risk_are_refused(grid):
    labels, scores = cohort()
    with pytest.raises(EvaluationError, match="thresholds"):
        decision_curve(labels, scores, thresholds=grid, n_samples=100, rng=rng())


def test_scores_of_other_patients_are_refused():
    labels, scores = cohort()
    with pytest.raises(EvaluationError, match="fit"):
        decision_curve(labels, scores, n_samples=100, rng=rng(), others={"b": scores[:, 1:]})
