"""Whether adapting is worth it: the exact test, its least number of patients, and abstention."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mri_transfer.errors import FoldError
from mri_transfer.models.adaptation.settings import AdaptationSpec
from mri_transfer.training.adaptation.arms import KnownSource, fit_arm
from mri_transfer.training.adaptation.choice import (
    choose_way,
    fewest_patients,
    held_out_scores,
    sign_flip_p,
)
from mri_transfer.training.fitted_model import patient_scores
from mri_transfer.training.refit import refit_on_all
from tests.bundle.bundles import RECIPE, made_up_cohort


def test_all_differences_below_zero_have_one_flip_in_two_to_the_n() -> None:
    assert sign_flip_p([-1.0, -2.0, -0.5]) == pytest.approx(1 / 8)
    assert sign_flip_p([1.0, 2.0, 0.5]) == 1.0


def test_p_counts_flips_with_as_low_a_mean() -> None:
    values = np.random.default_rng(0).normal(-0.3, 1, 9)
    flips = [values @ signs for signs in itertools.product((-1, 1), repeat=9)]
    expected = np.mean([one <= values.sum() + 1e-9 for one in flips])
    assert sign_flip_p(values) == pytest.approx(expected)


def test_drawn_flips_come_near_the_counted_ones() -> None:
    values = np.random.default_rng(1).normal(-0.25, 1, 40)
    z = values.sum() / np.sqrt((values**2).sum())
    from scipy.stats import norm

    assert sign_flip_p(values) == pytest.approx(float(norm.cdf(z)), abs=0.02)


def test_the_level_says_how_many_patients_are_needed() -> None:
    """One way needs 2^-N <= .05, six need 2^-N <= .05 / 6."""
    assert fewest_patients(1, 0.05) == 5
    assert fewest_patients(6, 0.05) == 7
    assert 2.0**-7 * 6 <= 0.05 < 2.0**-6 * 6


def _scores(labels: np.ndarray, confidence: float) -> np.ndarray:
    return np.where(labels == 1, confidence, 1 - confidence)


def test_a_way_that_is_better_for_everybody_is_chosen_from_eight_patients_on() -> None:
    labels = np.arange(8) % 2
    scores = {"none": _scores(labels, 0.55), "warm": _scores(labels, 0.9)}
    choice = choose_way(labels, scores, alpha=0.05)
    assert choice.chosen == "warm"
    assert choice.document["ways"]["warm"]["p"] == pytest.approx(1 / 256)
    few = {way: values[:4] for way, values in scores.items()}
    abstained = choose_way(labels[:4], few, alpha=0.05)
    assert abstained.chosen == "none"
    assert not abstained.document["enough"]


def test_many_ways_make_each_harder_to_believe() -> None:
    labels = np.arange(6) % 2
    others = ("recalibrate", "moments", "combat", "warm", "linear", "url")
    scores = {"none": _scores(labels, 0.55)}
    alone = choose_way(labels, {**scores, "warm": _scores(labels, 0.9)}, alpha=0.05)
    crowd = {name: _scores(labels, 0.9) for name in others}
    assert alone.chosen == "warm"
    assert choose_way(labels, {**scores, **crowd}, alpha=0.05).chosen == "none"


def test_nothing_is_chosen_where_nothing_differs() -> None:
    labels = np.arange(12) % 2
    noise = np.random.default_rng(0).uniform(0.3, 0.7, (2, 12))
    choice = choose_way(labels, {"none": noise[0], "warm": noise[1]}, alpha=0.05)
    assert choice.chosen == "none"


def test_a_patient_left_out_is_scored_by_a_fit_to_the_others() -> None:
    old, site = made_up_cohort(), made_up_cohort(n_patients=6, prefix="new-", seed=2)
    known = KnownSource(model=refit_on_all(RECIPE, old).trained, patients=old)
    spec = AdaptationSpec()
    scores, faults = held_out_scores(site, known, ("none", "warm"), spec, seed=0)
    assert not faults
    name = site.patient_ids[2]
    others = site.view(set(site.patient_ids) - {name})
    model = fit_arm("warm", others, known, spec, seed=0).model
    assert scores["warm"][2] == patient_scores(model, site.only([name]))[0]
    np.testing.assert_array_equal(scores["none"], patient_scores(known.model, site))


def test_one_patient_of_a_label_cannot_be_left_out() -> None:
    site = made_up_cohort(n_patients=6)
    positive = [name for name in site.patient_ids if site.labels[name] == "AD"]
    lonely = site.only(set(site.patient_ids) - set(positive[1:]))
    known = KnownSource(model=refit_on_all(RECIPE, made_up_cohort()).trained)
    with pytest.raises(FoldError, match="leave one out"):
        held_out_scores(lonely, known, ("none",), AdaptationSpec(), seed=0)
