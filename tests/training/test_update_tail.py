"""Training a tail further: what it starts from, what holds it, and who is trained on again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.tails.fisher import empirical_fisher
from mri_transfer.models.tails.fitting import fit_tail
from mri_transfer.models.tails.trainer import LabelledActivations, TailStart
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.forgetting import forgetting
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import refit_on_all
from mri_transfer.training.update_choice import compare_strategies
from mri_transfer.training.update_tail import TailUpdate, demand_tunable
from tests.tails_phantom import N_SLICES, opposed_cohorts
from tests.training.test_forgetting import CONFIG, PLAN, TUNING


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledFeatures, LabelledFeatures]:
    """An old cohort, and a new one whose labels are the other way round."""
    return opposed_cohorts(tmp_path_factory.mktemp("opposed"))


@pytest.fixture(scope="module")
def parent(cohorts) -> FittedModel:
    return refit_on_all(CONFIG, cohorts[0], tail=PLAN).trained


def _update(**settings) -> TailUpdate:
    tuning = dataclasses.replace(TUNING, l2_sp=0.0, **settings)
    return TailUpdate(config=CONFIG, tuning=tuning, plan=PLAN)


def _scans(data: LabelledFeatures) -> LabelledActivations:
    return LabelledActivations(
        activations=data.activations,
        patient_ids=data.scans.patient_ids,
        labels=data.scan_is_positive,
        n_slices=N_SLICES,
    )


def test_a_tail_goes_on_from_where_it_is(cohorts, parent) -> None:
    _, new = cohorts
    start = TailStart(tail=parent.tail)
    fit = fit_tail(
        PLAN.source, TUNING, _scans(new), pooling="max", seed=0, n_epochs=1,
        held_out=_scans(new), start=start,
    )  # fmt: skip
    untouched, trained = fit.tails
    for name, values in parent.tail.tensors.items():
        np.testing.assert_array_equal(untouched.tensors[name], values)
    assert any(
        not np.array_equal(trained.tensors[name], values)
        for name, values in parent.tail.tensors.items()
    )
    # Distances are from the old tail, not from the source.
    far = fit_tail(PLAN.source, TUNING, _scans(new), pooling="max", seed=0, n_epochs=0).distances
    assert far == {"deep": 0.0}
    assert 0 < fit.distances["deep"] < 0.5


def test_fisher_information_is_the_mean_square_of_patients_gradients(cohorts, parent) -> None:
    """A slow oracle: gradients by finite differences of each scan's loss, for one bias."""
    old = _scans(cohorts[0])
    spec = dataclasses.replace(TUNING, slices_per_scan=N_SLICES)
    found = empirical_fisher(PLAN.source, parent.tail, old, spec=spec, pooling="max")
    assert set(found) == set(parent.tail.tensors)
    for name, values in found.items():
        assert values.shape == parent.tail.tensors[name].shape
        assert (values >= 0).all()
    assert sum(float(values.sum()) for values in found.values()) > 0

    network = parent.tail.network().double()
    bias = network.tail.deep[0].bias
    head = _probe(network, old)

    def losses() -> np.ndarray:
        logits = np.array([head(_pooled(network, old, i)) for i in range(len(old.labels))])
        return np.logaddexp(0.0, np.where(old.labels == 1, -logits, logits))

    step, weights = 1e-4, old.weights()
    n_patients = len(set(old.patient_ids))
    for channel in range(3):
        with torch.no_grad():
            bias[channel] += step
            up = losses()
            bias[channel] -= 2 * step
            down = losses()
            bias[channel] += step
        wanted = (weights * ((up - down) / (2 * step)) ** 2).sum() / n_patients
        assert found["tail.deep.0.bias"][channel] == pytest.approx(wanted, rel=0.02, abs=1e-9)


def _pooled(network, scans: LabelledActivations, i: int) -> np.ndarray:
    with torch.no_grad():
        maps = network.tail(scans.activations.read(i).double())
    return maps.amax((2, 3)).numpy().mean(0)


def _probe(network, scans: LabelledActivations):
    """Return the linear head that trainers fit to each scan's mean features."""
    from mri_transfer.models.heads import LinearHeadSpec
    from mri_transfer.models.heads.linear_fit import solve_rows

    rows = np.stack([_pooled(network, scans, i) for i in range(len(scans.labels))])
    raw, bias = solve_rows(rows[:, None], scans.labels, LinearHeadSpec(zones=1), n_slices=1)
    mean = rows.mean(axis=0)
    return lambda features: float((features - mean) @ raw[0] + bias)


def _moved(parent: FittedModel, other: FittedModel) -> dict[str, np.ndarray]:
    return {
        name: np.abs(other.tail.tensors[name].astype(np.float64) - values.astype(np.float64))
        for name, values in parent.tail.tensors.items()
    }


def test_consolidation_holds_what_the_old_patients_depend_on(cohorts, parent) -> None:
    """With a strong weight these weights stay, and those that matter to nobody move as before."""
    old, new = cohorts
    fisher = empirical_fisher(PLAN.source, parent.tail, _scans(old), spec=TUNING, pooling="max")
    # The strongest pull is a rate times a curvature of 2: gradient descent with momentum is stable.
    ewc = 100.0 / max(float(values.max()) for values in fisher.values())
    free = _update(optimiser="sgd", learning_rate=0.02).run(parent, new, old).refit.trained
    held = _update(optimiser="sgd", learning_rate=0.02, ewc=ewc).run(parent, new, old)
    before, after = _moved(parent, free), _moved(parent, held.refit.trained)
    weight = "tail.deep.0.weight"
    strong = fisher[weight] > np.quantile(fisher[weight], 0.9)
    shares = [
        after[weight][where].sum() / before[weight][where].sum() for where in (strong, ~strong)
    ]
    assert shares[0] < 0.7
    assert shares[0] < 0.8 * shares[1]
    assert held.n_rehearsed == 0
    # The model that comes of it needs no old patients any more.
    assert held.refit.trained.tail.spec.ewc == 0
    assert _update(ewc=50.0).lasting.tuning == dataclasses.replace(TUNING, l2_sp=0.0)


def test_rehearsed_are_old_patients_of_each_label_in_the_share_asked_for(cohorts, parent) -> None:
    old, new = cohorts
    done = _update(rehearsal=0.5).run(parent, new, old)
    again = set(done.patients.labels) - set(new.labels)
    assert len(again) == done.n_rehearsed == 6
    assert sorted(old.labels[name] for name in again) == ["AD"] * 3 + ["CN"] * 3
    assert set(new.labels) <= set(done.patients.labels)


@pytest.mark.parametrize("settings", [{"ewc": 1.0}, {"rehearsal": 0.5}])
def test_without_the_old_patients_they_are_refused(cohorts, parent, settings) -> None:
    (name,) = settings
    with pytest.raises(
        ConfigurationError, match="patients that the tail was trained on are needed"
    ) as caught:
        _update(**settings).run(parent, cohorts[1], None)
    assert f"tuning.{name}" in str(caught.value)
    assert "--run" in str(caught.value)


def test_what_a_tail_cannot_become_is_refused(cohorts, parent) -> None:
    with pytest.raises(ConfigurationError, match="as it was trained first"):
        _update(method="lora").run(parent, cohorts[1], None)
    bare = dataclasses.replace(CONFIG, tuning=ModelConfig().tuning)
    with pytest.raises(ConfigurationError, match="only a model with a trained tail"):
        demand_tunable(bare, TUNING, old_at_hand=True)


@pytest.mark.slow
def test_rehearsal_forgets_less_and_the_meter_says_what_was_done(cohorts, parent) -> None:
    """New patients who contradict the old ones: without the old, these are forgotten."""
    old, new = cohorts
    after = {}
    for share in (0.0, 1.0):
        further = _update(rehearsal=share, epochs=6)
        compared = compare_strategies(
            CONFIG, parent, new, old=old, tail=PLAN, further=further, n_folds=2
        )
        assert list(compared.scores) == ["unchanged", "recalibrate", "warm", "tune", "refit"]
        done = further.run(parent, new, old)
        meter = forgetting(
            compared, "tune", parent, done.refit.trained, guards=further.guards(done)
        )
        assert meter["guards"] == {
            "l2_sp": 0.0, "ewc": 0.0, "rehearsal": share, "n_rehearsed": round(12 * share),
        }  # fmt: skip
        assert meter["distances"]["deep"] > 0
        after[share] = meter["auc_after"]["value"]
        assert meter["auc_before"]["value"] > 0.9
    assert after[0.0] < 0.3
    assert after[1.0] > after[0.0] + 0.15


def test_without_old_patients_strategies_are_compared_on_the_new_ones(cohorts, parent) -> None:
    _, new = cohorts
    compared = compare_strategies(CONFIG, parent, new, tail=PLAN, further=_update(), n_folds=2)
    assert list(compared.scores) == ["unchanged", "recalibrate", "warm", "tune"]
    assert np.isfinite(compared.scores["tune"]).all()
