"""What a new cohort does to an old head, and which way of taking it in is chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, logit

from mri_transfer.errors import ConfigurationError, FoldError, HeadError
from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec
from mri_transfer.models.heads.linear_fit import solve_rows
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import patient_scores
from mri_transfer.training.refit import refit_on_all
from mri_transfer.training.update import _inner, recalibrated, warmed
from mri_transfer.training.update_choice import _folds, compare_strategies
from tests.bundle.bundles import RECIPE, made_up_cohort

OLD = made_up_cohort()
NEW = made_up_cohort(n_patients=16, prefix="new-")


@pytest.mark.parametrize("balanced", [True, False])
def test_without_an_offset_the_update_is_the_linear_head(balanced: bool) -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.standard_normal((30, 2, 4)), (np.arange(30) % 3 == 0).astype(int)
    spec = LinearHeadSpec(inverse_l2=(2.0, 5.0), balanced=balanced)
    fitted = solve_rows(rows, labels, spec, n_slices=8)
    beside = solve_rows(rows, labels, spec, n_slices=8, offsets=np.zeros(30))
    for one, other in zip(fitted, beside, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_patients_log_odds_move_by_what_was_fitted_for_that_patient() -> None:
    """The slices' mean log-odds of the moved head are the optimum of the patient's problem."""
    config = dataclasses.replace(
        RECIPE, predictions=dataclasses.replace(RECIPE.predictions, recalibration=("none",))
    )
    old = refit_on_all(config, OLD).trained
    new = made_up_cohort(n_patients=16, prefix="new-")
    moved = warmed(config, old, new).trained
    bare = old.head.facts["recalibration"]
    assert bare["method"] == "none"
    plain = dataclasses.replace(
        moved,
        head=dataclasses.replace(moved.head, facts={**moved.head.facts, "recalibration": bare}),
    )
    before, after = logit(patient_scores(old, new)), logit(patient_scores(plain, new))
    # At the optimum, which is balanced here, the free intercept makes residuals sum to 0.
    residual = new.is_positive - expit(after)
    assert abs(residual.sum()) < 1e-3
    assert np.abs(after - before).max() > 0.1
    loss = lambda odds: np.logaddexp(0, -(2 * new.is_positive - 1) * odds).mean()  # noqa: E731
    assert loss(after) < loss(before)


def test_a_warm_head_of_no_use_to_learn_from_stays_where_it_was() -> None:
    """With a penalty that forbids change only the intercept may move."""
    old = refit_on_all(RECIPE, OLD).trained
    facts = {**old.head.facts}
    facts["procedure"] = {
        **facts["procedure"],
        "head": {**facts["procedure"]["head"], "inverse_l2": [1e-9]},
    }
    stiff = dataclasses.replace(old, head=dataclasses.replace(old.head, facts=facts))
    moved = warmed(RECIPE, stiff, NEW).trained
    np.testing.assert_allclose(moved.head.tensors["weight"], old.head.tensors["weight"], atol=1e-6)


def test_recalibration_leaves_the_head_and_the_order_of_patients() -> None:
    old = refit_on_all(RECIPE, OLD).trained
    new = recalibrated(RECIPE, old, NEW).trained
    assert new.head.tensors is old.head.tensors
    before, after = patient_scores(old, NEW), patient_scores(new, NEW)
    order = np.argsort(before)
    assert (np.diff(after[order]) >= -1e-12).all()


def test_a_warm_start_of_another_head_is_refused() -> None:
    config = dataclasses.replace(RECIPE, heads=AttentionHeadSpec(hidden=4, epochs=3))
    old = refit_on_all(config, OLD).trained
    with pytest.raises(ConfigurationError, match="linear head alone"):
        warmed(config, old, NEW)


def test_a_shifted_cohort_is_worth_a_recalibration() -> None:
    """The old head's score is moved by 4 in the new cohort: it ranks well and is far off."""
    old = refit_on_all(RECIPE, OLD).trained
    tensors = {**old.head.tensors, "bias": old.head.tensors["bias"] + np.float32(4)}
    off = dataclasses.replace(old, head=dataclasses.replace(old.head, tensors=tensors))
    new = made_up_cohort(n_patients=40, prefix="new-", signal=2.0)
    compared = compare_strategies(RECIPE, off, new)
    assert list(compared.scores) == ["unchanged", "recalibrate", "warm"]
    assert compared.document["steps"][0]["significantly_better"]
    assert compared.chosen != "unchanged"
    assert compared.is_new.all()


def test_every_way_scores_everybody_held_out_and_noise_changes_nothing() -> None:
    new = made_up_cohort(n_patients=12, prefix="new-")
    old = refit_on_all(RECIPE, OLD).trained
    compared = compare_strategies(RECIPE, old, new, old=OLD, n_folds=3)
    assert list(compared.scores) == ["unchanged", "recalibrate", "warm", "refit"]
    assert all(np.isfinite(values).all() for values in compared.scores.values())
    assert compared.document["n_old"] == 24
    assert compared.document["n_new"] == 12
    assert compared.performance("refit")["figures"]["auc"]["n"] == 36


@pytest.mark.parametrize("victim", ["p003", "new-p003"])
def test_no_way_sees_those_it_scores(victim: str) -> None:
    """Spoiling a patient's scans changes nothing for the others held out in the same fold."""
    old, new = made_up_cohort(n_patients=12), made_up_cohort(n_patients=12, prefix="new-")
    parent = refit_on_all(RECIPE, old).trained
    names = old.joined(new).patient_ids
    is_new = np.array([name in new.labels for name in names])
    fold = _folds(RECIPE, old.joined(new), is_new, 2).assignment[0]
    before = compare_strategies(RECIPE, parent, new, old=old, n_folds=2)
    after = compare_strategies(
        RECIPE, parent, _spoiled(new, victim), old=_spoiled(old, victim), n_folds=2
    )
    own = fold == fold[names.index(victim)]
    beside = own & (np.array(names) != victim)
    for way, values in before.scores.items():
        np.testing.assert_array_equal(after.scores[way][beside], values[beside])
    assert not np.array_equal(after.scores["refit"][~own], before.scores["refit"][~own])


def _spoiled(cohort: LabelledFeatures, victim: str) -> LabelledFeatures:
    """Return the cohort with other features of one patient, if that patient is in it."""
    table = cohort.tables["max"]
    features = table.features.copy()
    features[[name == victim for name in table.patient_ids]] += 9.0
    return dataclasses.replace(
        cohort, tables={"max": dataclasses.replace(table, features=features)}
    )


def test_a_warm_heads_meaning_is_learned_from_patients_it_had_not_seen() -> None:
    """Recalibration and threshold rest on heads moved without the patients they score."""
    old = refit_on_all(RECIPE, OLD).trained
    victim = NEW.patient_ids[2]
    before, after = (warmed(RECIPE, old, one).inner for one in (NEW, _spoiled(NEW, victim)))
    fold = _inner(RECIPE, NEW)
    beside = (fold == fold[2]) & (np.arange(len(fold)) != 2)
    np.testing.assert_array_equal(before[beside], after[beside])
    assert not np.array_equal(before[fold != fold[2]], after[fold != fold[2]])


def test_a_patient_in_both_cohorts_is_refused() -> None:
    with pytest.raises(HeadError, match="in both cohorts"):
        OLD.joined(OLD)


def test_a_new_cohort_of_one_label_cannot_say_anything() -> None:
    old = refit_on_all(RECIPE, OLD).trained
    healthy = NEW.only([name for name, label in NEW.labels.items() if label == "CN"])
    with pytest.raises(FoldError, match="too small"):
        compare_strategies(RECIPE, old, healthy)
