"""Platt, isotonic and beta recalibration, and the choice among them."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from mri_transfer.errors import HeadError
from mri_transfer.models.recalibration import Recalibration, choose_recalibration, fit_recalibration

FITTED = ("platt", "isotonic", "beta")


def simulate(n, *, shift=0.0, slope=1.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.standard_normal(n)
    return (rng.random(n) < expit(shift + slope * logits)).astype(int), expit(logits)


def smoothed(labels):
    n1, n0 = sum(labels), len(labels) - sum(labels)
    return np.array([(n1 + 1) / (n1 + 2) if label else 1 / (n0 + 2) for label in labels])


def test_platt_is_the_logistic_model_on_smoothed_targets():
    labels, scores = simulate(140, shift=0.4, slope=0.5, seed=1)
    found = fit_recalibration("platt", labels, scores)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # targets between 0 and 1
        oracle = sm.GLM(
            smoothed(labels), sm.add_constant(logit(scores)), family=sm.families.Binomial()
        ).fit(tol=1e-12)
    assert found.parameters["intercept"][0] == pytest.approx(oracle.params[0], abs=1e-5)
    assert found.parameters["slope"][0] == pytest.approx(oracle.params[1], abs=1e-5)


def test_beta_is_the_logistic_model_on_both_logarithms():
    labels, scores = simulate(400, shift=0.4, slope=0.8, seed=2)
    found = fit_recalibration("beta", labels, scores)
    design = np.column_stack([np.log(scores), -np.log(1 - scores), np.ones(len(scores))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = sm.GLM(smoothed(labels), design, family=sm.families.Binomial()).fit(tol=1e-12)
    assert oracle.params[:2].min() > 0, "the bounds must not be active here"
    values = [found.parameters[name][0] for name in "abc"]
    assert values == pytest.approx(oracle.params, abs=1e-4)


@pytest.mark.parametrize("seed", [0, 20])
def test_beta_with_a_negative_coefficient_is_refitted_without_it(seed):
    # Kull et al. drop the term whose coefficient came out negative and fit the other again.
    labels, scores = simulate(60, slope=1.0, seed=seed)
    found = fit_recalibration("beta", labels, scores)
    design = np.column_stack([np.log(scores), -np.log(1 - scores), np.ones(60)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = sm.GLM(smoothed(labels), design, family=sm.families.Binomial()).fit().params
        kept = [1, 2] if both[0] < 0 else [0, 2]
        alone = sm.GLM(smoothed(labels), design[:, kept], family=sm.families.Binomial()).fit()
    assert both[:2].min() < 0
    assert found.parameters["ab"[int(both[1] < 0)]] == (0.0,)
    assert found.parameters["ba"[int(both[1] < 0)]][0] == pytest.approx(alone.params[0], abs=1e-4)


def test_isotonic_averages_neighbours_that_fall():
    # Pooling by hand: targets of labels 0 1 0 1 1 are 1/4, 4/5, 1/4, 4/5, 4/5.
    found = fit_recalibration("isotonic", [0, 1, 0, 1, 1], [0.1, 0.3, 0.4, 0.6, 0.9])
    middle = (4 / 5 + 1 / 4) / 2
    mapped = found.apply([0.0, 0.1, 0.3, 0.35, 0.4, 0.5, 0.6, 1.0])
    between = (middle + 4 / 5) / 2
    assert mapped == pytest.approx([1 / 4, 1 / 4, middle, middle, middle, between, 4 / 5, 4 / 5])


def test_identity_of_each_family():
    scores = np.linspace(0.001, 0.999, 101)
    beta = Recalibration("beta", {"a": (1.0,), "b": (1.0,), "c": (0.0,)})
    platt = Recalibration("platt", {"slope": (1.0,), "intercept": (0.0,)})
    for same in (beta, platt, Recalibration("none", {})):
        np.testing.assert_allclose(same.apply(scores), scores, atol=1e-12)


@pytest.mark.parametrize("method", FITTED)
def test_a_calibrated_score_is_left_alone_and_an_extreme_one_is_drawn_in(method):
    grid = np.array([0.2, 0.5, 0.8])
    labels, scores = simulate(20_000, seed=3)
    assert fit_recalibration(method, labels, scores).apply(grid) == pytest.approx(grid, abs=0.05)
    labels, scores = simulate(20_000, slope=0.4, seed=4)
    wanted = expit(0.4 * logit(grid))
    assert fit_recalibration(method, labels, scores).apply(grid) == pytest.approx(wanted, abs=0.05)


@pytest.mark.parametrize("method", ["none", *FITTED])
@pytest.mark.parametrize("seed", range(8))
def test_no_map_turns_the_order_of_scores_round(method, seed):
    labels, scores = simulate(40, slope=[-1.0, 0.0, 0.5, 2.0][seed % 4], seed=seed)
    rng = np.random.default_rng(seed)
    grid = np.sort(np.concatenate([[0.0, 1.0], rng.random(2000), scores]))
    mapped = fit_recalibration(method, labels, scores).apply(grid)
    assert np.diff(mapped).min() >= -1e-15
    if method != "none":
        assert 0 < mapped.min() <= mapped.max() < 1


@pytest.mark.parametrize("method", FITTED)
def test_scores_of_no_use_become_the_share_of_positives(method):
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    backward = np.where(labels == 1, 0.2, 0.8)
    share = smoothed(labels).mean()
    for useless in (backward, np.full(10, 0.7), np.zeros(10)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mapped = fit_recalibration(method, labels, useless).apply([0.0, 0.3, 1.0])
        assert mapped == pytest.approx([share] * 3, abs=1e-6)


@pytest.mark.parametrize("method", FITTED)
@pytest.mark.parametrize(
    "scores", [np.linspace(0.05, 0.95, 10), np.repeat([0.0, 1.0], 5), np.repeat([0.4, 0.6], 5)]
)
def test_separated_labels_give_finite_probabilities(method, scores):
    labels = np.repeat([0, 1], 5)
    mapped = fit_recalibration(method, labels, scores).apply(scores)
    assert np.isfinite(np.log([mapped, 1 - mapped])).all()
    assert 0.02 < mapped[0] < 0.2
    assert mapped[-1] == pytest.approx(1 - mapped[0], abs=1e-4)


def test_apply_keeps_the_shape():
    found = fit_recalibration("platt", *simulate(50))
    assert found.apply(0.5).shape == ()
    assert found.apply(np.full((3, 4), 0.5)).shape == (3, 4)
    assert found.apply([]).shape == (0,)


@pytest.mark.parametrize("method", ["none", *FITTED])
def test_a_map_survives_json(method):
    found = fit_recalibration(method, *simulate(60, seed=5))
    again = Recalibration.from_dict(json.loads(json.dumps(found.as_dict())))
    assert again == found
    grid = np.linspace(0, 1, 50)
    np.testing.assert_array_equal(again.apply(grid), found.apply(grid))


@pytest.mark.parametrize(
    "content",
    [
        None,
        {},
        {"method": "platt"},
        {"method": "none", "parameters": {}, "more": 1},
        {"method": "sigmoid", "parameters": {}},
        {"method": ["platt"], "parameters": {}},
        {"method": "none", "parameters": {"a": [1.0]}},
        {"method": "platt", "parameters": {"slope": [1.0]}},
        {"method": "platt", "parameters": {"slope": [-0.1], "intercept": [0.0]}},
        {"method": "platt", "parameters": {"slope": [1.0, 2.0], "intercept": [0.0]}},
        {"method": "platt", "parameters": {"slope": 1.0, "intercept": [0.0]}},
        {"method": "platt", "parameters": {"slope": ["1"], "intercept": [0.0]}},
        {"method": "platt", "parameters": {"slope": [float("nan")], "intercept": [0.0]}},
        {"method": "beta", "parameters": {"a": [1.0], "b": [-1.0], "c": [0.0]}},
        {"method": "isotonic", "parameters": {"scores": [0.1, 0.2], "values": [0.3]}},
        {"method": "isotonic", "parameters": {"scores": [0.2, 0.1], "values": [0.3, 0.4]}},
        {"method": "isotonic", "parameters": {"scores": [0.1, 0.2], "values": [0.4, 0.3]}},
        {"method": "isotonic", "parameters": {"scores": [0.1, 0.2], "values": [0.0, 0.3]}},
        {"method": "isotonic", "parameters": {"scores": [0.1, 1.2], "values": [0.2, 0.3]}},
        {"method": "isotonic", "parameters": {"scores": [], "values": []}},
    ],
)
def test_content_that_is_no_map_is_refused(content):
    with pytest.raises(HeadError, match="not a recalibration"):
        Recalibration.from_dict(content)


def test_what_cannot_be_fitted_is_refused():
    labels, scores = simulate(20)
    with pytest.raises(HeadError, match="both labels"):
        fit_recalibration("platt", np.ones(20), scores)
    with pytest.raises(HeadError, match="0 to 1"):
        fit_recalibration("platt", labels, scores + 1)
    with pytest.raises(HeadError, match="fit each other"):
        fit_recalibration("platt", labels[:-1], scores)
    with pytest.raises(HeadError, match="no such"):
        fit_recalibration("spline", labels, scores)
    with pytest.raises(HeadError, match="0 to 1"):
        fit_recalibration("none", labels, scores).apply([np.nan])


def test_choice_is_the_least_held_out_log_loss_by_a_slow_loop():
    labels, scores = simulate(90, shift=0.5, slope=0.5, seed=6)
    fold = np.arange(90) % 5
    methods = ("none", "platt", "isotonic", "beta")
    chosen, losses = choose_recalibration(labels, scores, fold, methods=methods)
    for method in methods:
        total = 0.0
        for i in range(90):
            others = [j for j in range(90) if fold[j] != fold[i]]
            p = float(fit_recalibration(method, labels[others], scores[others]).apply(scores[i]))
            total -= np.log(p if labels[i] else 1 - p)
        assert losses[method] == pytest.approx(total / 90, abs=1e-9)
    best = min(losses, key=losses.get)
    assert best != "none"
    assert chosen == fit_recalibration(best, labels, scores)


def test_choice_keeps_calibrated_scores_and_mends_bad_ones():
    fold = np.arange(2000) % 5
    labels, scores = simulate(2000, slope=0.3, seed=7)
    mended, losses = choose_recalibration(labels, scores, fold, methods=("none", "platt"))
    assert mended.method == "platt"
    assert losses["platt"] < losses["none"] - 0.05
    labels = np.tile([0, 1], 1000)
    same, losses = choose_recalibration(
        labels, np.full(2000, 0.5), np.arange(2000) // 400, methods=("platt", "none")
    )
    assert losses["platt"] == pytest.approx(losses["none"], abs=1e-12)
    assert same.method == "platt", "a tie goes to the method named first"
    turned, _ = choose_recalibration(
        labels, np.full(2000, 0.5), np.arange(2000) // 400, methods=("none", "platt")
    )
    assert turned.method == "none"


def test_a_saturated_mistake_costs_a_finite_loss():
    labels, scores = np.array([0, 1] * 10), np.array([0.0, 1.0] * 9 + [1.0, 0.0])
    _, losses = choose_recalibration(labels, scores, np.arange(20) // 10, methods=("none",))
    assert losses["none"] == pytest.approx(2 * -np.log(1e-6) / 20)


def test_a_choice_without_folds_or_methods_is_refused():
    labels, scores = simulate(20)
    with pytest.raises(HeadError, match="cannot be chosen"):
        choose_recalibration(labels, scores, np.zeros(20), methods=("none",))
    with pytest.raises(HeadError, match="cannot be chosen"):
        choose_recalibration(labels, scores, np.arange(20) % 2, methods=())
    with pytest.raises(HeadError, match="cannot be chosen"):
        choose_recalibration(labels, scores, np.arange(19) % 2, methods=("none",))
    lonely = np.zeros(20, dtype=int)
    lonely[0] = 1
    with pytest.raises(HeadError, match="both labels"):
        choose_recalibration(lonely, scores, np.arange(20) % 4, methods=("platt",))


def test_a_map_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recalibration("none", {}).method = "platt"
