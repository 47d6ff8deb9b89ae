"""What leaves the study is made as the folds' heads were, of all patients."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.models.heads import AttentionHeadSpec
from mri_transfer.training.cross_validation import cross_validate
from mri_transfer.training.estimator import configured_estimator
from mri_transfer.training.folds import make_folds
from mri_transfer.training.refit import BootstrapSpec, bootstrap_heads, refit_on_all
from mri_transfer.training.search import SearchSpec
from tests.bundle.bundles import COMBAT, RECIPE, made_up_cohort, some_features

SEARCHED = SearchSpec(space={"heads.inverse_l2": [[0.01], [10.0]]}, margin_se=0.0)


@pytest.mark.parametrize(
    "config",
    [
        RECIPE,
        dataclasses.replace(RECIPE, search=SEARCHED),
        dataclasses.replace(RECIPE, heads=AttentionHeadSpec(hidden=4, epochs=3)),
    ],
    ids=["linear", "searched", "attention"],
)
@pytest.mark.parametrize("sites", [False, True], ids=["as they are", "harmonised"])
def test_on_an_outer_training_set_it_gives_that_folds_head_byte_by_byte(config, sites) -> None:
    cohort = made_up_cohort(sites=sites)
    if sites:
        config = dataclasses.replace(config, harmonisation=COMBAT)
    names = cohort.patient_ids
    folds = make_folds(names, [cohort.labels[n] for n in names], spec=config.folds, seed=5)
    validated = cross_validate(configured_estimator(config), cohort, folds, seed=config.seed)
    outer = list(folds)[1]
    train = [names[i] for i in outer.train]
    refit = refit_on_all(config, cohort.only(train), place=(outer.repeat, outer.fold))
    fold = validated.trained[1]
    for name, values in fold.head.tensors.items():
        assert values.tobytes() == refit.trained.head.tensors[name].tobytes()
    for name in ("procedure", "recalibration", "threshold", "target_thresholds", "trials"):
        assert fold.head.facts[name] == refit.trained.head.facts[name]
    inner = validated.inner.table[validated.inner.table["fold"] == outer.fold]
    found = refit.trained.recalibration.apply(refit.inner)
    assert np.array_equal(found, inner["score"].to_numpy())


def test_facts_of_a_refitted_head_name_nobody() -> None:
    cohort = made_up_cohort(prefix="SECRET")
    facts = refit_on_all(RECIPE, cohort).trained.head.facts
    assert "SECRET" not in str(facts)
    assert "training_scans" not in facts


def test_bootstrap_heads_differ_and_centre_on_the_final_head() -> None:
    cohort = made_up_cohort(n_patients=40)
    refit = refit_on_all(RECIPE, cohort)
    heads = bootstrap_heads(RECIPE, cohort, refit, spec=BootstrapSpec(n_heads=12)).heads
    owners = list("abcde")
    features = some_features()
    scores = np.array(
        [list(h.patients(h.slices(features, owners), owners).values()) for h in heads]
    )
    final = refit.trained.patients(refit.trained.slices(features, owners), owners)
    assert len({row.tobytes() for row in scores}) == 12
    z = (scores.mean(axis=0) - np.array(list(final.values()))) / scores.std(axis=0)
    assert np.abs(z).max() < 1.5


def test_a_resample_holds_as_many_patients_of_each_label() -> None:
    cohort = made_up_cohort(two_sessions=4)
    drawn = cohort.resampled([0, 0, 1, 5])
    assert len(drawn.labels) == 4
    assert [drawn.labels[name] for name in drawn.patient_ids] == [
        cohort.labels[cohort.patient_ids[i]] for i in (0, 0, 1, 5)
    ]
    # The first two patients were scanned twice.
    assert len(drawn.tables["max"].scan_ids) == 2 + 2 + 2 + 1
