"""The forgetting meter: what an update costs the old cohort, and how far its weights went."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.models.tails.tail import Tail
from mri_transfer.training import update_choice
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.forgetting import forgetting
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import refit_on_all
from mri_transfer.training.search import SearchSpec
from mri_transfer.training.settings import FoldSpec
from mri_transfer.training.tuning import TailPlan
from mri_transfer.training.update_choice import compare_strategies
from tests.tails_phantom import fast, opposed_cohorts, source

TUNING = fast(epochs=2, patience=0)
PLAN = TailPlan(spec=TUNING, source=source())
CONFIG = ModelConfig(
    tuning=TUNING,
    heads=LinearHeadSpec(inverse_l2=(1.0,), zones=1),
    folds=FoldSpec(n_folds=2, n_repeats=1, n_inner_folds=2),
    search=SearchSpec(space="none"),
)


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledFeatures, LabelledFeatures]:
    return opposed_cohorts(tmp_path_factory.mktemp("opposed"))


@pytest.mark.slow
def test_old_patients_are_scored_before_and_after_by_models_that_had_not_seen_them(cohorts) -> None:
    old, new = cohorts
    parent = refit_on_all(CONFIG, old, tail=PLAN).trained
    after = refit_on_all(CONFIG, old.joined(new), tail=PLAN).trained
    compared = compare_strategies(CONFIG, parent.on_features, new, old=old, tail=PLAN, n_folds=2)
    meter = forgetting(compared, "refit", parent, after)
    own = ~compared.is_new
    assert own.sum() == meter["n_old"] == 12
    for key, strategy in (("auc_before", "unchanged"), ("auc_after", "refit")):
        expected = auc(compared.labels[own], compared.scores[strategy][own])
        assert meter[key]["value"] == pytest.approx(expected)
        assert compared.document["old"][strategy]["auc"] == meter[key]
    # Contradicting patients cost the old ones something.
    assert meter["auc_before"]["value"] > 0.9
    assert meter["auc_difference"]["value"] < 0
    assert meter["auc_difference"]["value"] == pytest.approx(
        meter["auc_after"]["value"] - meter["auc_before"]["value"]
    )
    assert set(meter["distances"]) == {"deep", "head"}
    assert meter["distances"]["deep"] > 0


def test_the_ways_of_an_update_score_with_the_tail_of_their_fold(cohorts, monkeypatch) -> None:
    """Recalibration and warm starts leave it alone; a refit has one of its own."""
    old, new = cohorts
    tails = []

    def watched(model: FittedModel, data: LabelledFeatures) -> np.ndarray:
        tails.append(model.tail)
        return patient_scores(model, data)

    monkeypatch.setattr(update_choice, "patient_scores", watched)
    parent = refit_on_all(CONFIG, old, tail=PLAN).trained
    compared = compare_strategies(CONFIG, parent, new, old=old, tail=PLAN, n_folds=2)
    assert list(compared.scores) == ["unchanged", "recalibrate", "warm", "refit"]
    assert all(np.isfinite(scores).all() for scores in compared.scores.values())
    for unchanged, recalibrated, warm, refit in (tails[:4], tails[4:]):
        assert unchanged is recalibrated is warm
        assert None is not refit is not unchanged


def _moved(model: FittedModel, factor: float) -> FittedModel:
    assert model.tail is not None
    network = model.tail.network().state_dict()
    tensors = {
        name: (values.numpy() * factor).astype(np.float32)
        for name, values in network.items()
        if values.is_floating_point()
    }
    tail: Tail = dataclasses.replace(model.tail, tensors=tensors)
    head = dataclasses.replace(
        model.head, tensors={name: 3 * values for name, values in model.head.tensors.items()}
    )
    return dataclasses.replace(model, tail=tail, head=head)


def test_distances_are_those_of_weights_over_their_norm(cohorts) -> None:
    old, new = cohorts
    model = refit_on_all(CONFIG, old, tail=PLAN).trained
    bare = dataclasses.replace(CONFIG, tuning=ModelConfig().tuning)
    alone = compare_strategies(bare, refit_on_all(bare, old).trained, new, n_folds=2)
    meter = forgetting(alone, "recalibrate", model, _moved(model, 1.25))
    assert meter["distances"]["head"] == pytest.approx(2.0)
    assert meter["distances"]["deep"] == pytest.approx(0.25, abs=1e-3)
    # Without the old patients nothing is known of them.
    assert (meter["n_old"], meter["auc_before"], meter["auc_difference"]) == (0, None, None)
    nothing = forgetting(alone, "recalibrate", model.on_features, model.on_features)
    assert nothing["distances"] == {"head": 0.0}
    other = dataclasses.replace(model.head, tensors={"weight": np.zeros((2, 2), np.float32)})
    changed = dataclasses.replace(model.on_features, head=other)
    assert forgetting(alone, "warm", model.on_features, changed)["distances"] == {"head": None}


def test_a_refit_on_features_scores_as_the_refit(cohorts) -> None:
    old, _ = cohorts
    refit = refit_on_all(CONFIG, old, tail=PLAN)
    bare, read = refit.on_features(old)
    np.testing.assert_array_equal(
        patient_scores(bare.trained, read), patient_scores(refit.trained, old)
    )
