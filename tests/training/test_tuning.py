"""Tails inside folds: nothing of a test patient can enter one, and planted leaks are caught."""

from __future__ import annotations

import dataclasses
import gc
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mri_transfer.core.tensorfile import read_rows
from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.evaluation.audit.blinding import blind_activations, head_differences
from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec
from mri_transfer.models.trunks import INPUT
from mri_transfer.training import one_fit
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.engine import FoldResult, fit_folds
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.folds import Folds, OuterFold
from mri_transfer.training.search import SearchSpec
from mri_transfer.training.tuning import (
    TailPlan,
    chosen_epochs,
    fit_inner_tail,
    fit_outer_tail,
)
from tests.synthetic import folds_of
from tests.tails_phantom import fast, labelled_cohort, source


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledFeatures:
    return labelled_cohort(tmp_path_factory.mktemp("scans"))


def _folds(data: LabelledFeatures) -> Folds:
    return folds_of(data.scans, data.scan_is_positive)


def _estimator(**settings) -> TransferClassifier:
    return TransferClassifier(
        head=LinearHeadSpec(), tail=TailPlan(spec=fast(**settings), source=source())
    )


def _fit(data: LabelledFeatures, outer: OuterFold, **settings) -> FoldResult:
    return next(iter(fit_folds(_estimator(**settings), data, [outer], seed=4)))


def _blinded(data: LabelledFeatures, outer: OuterFold, folder: Path) -> LabelledFeatures:
    """Return the cohort with the test patients' labels flipped, their maps and features spoilt."""
    names = {data.patient_ids[i] for i in outer.test}
    held = np.array([name in names for name in data.scans.patient_ids])
    features = data.scans.features.copy()
    features[held] += 7.0
    table = dataclasses.replace(data.scans, features=features)
    other = {"AD": "CN", "CN": "AD"}
    return dataclasses.replace(
        data,
        tables={"max": table},
        labels={n: other[label] if n in names else label for n, label in data.labels.items()},
        activations=blind_activations(data.activations, data.scans, table, folder, seed=0),
    )


def _differences(data: LabelledFeatures, folder: Path, **settings) -> set[str]:
    """Say in what a fold's model differs from the one fitted blind to its test patients."""
    outer = next(iter(_folds(data)))
    one, other = (
        _fit(cohort, outer, **settings).fit.model
        for cohort in (data, _blinded(data, outer, folder))
    )
    return {str(found["what"]) for found in head_differences(one, other)}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "lora"},
        {"norm_moments": "adapt"},
        {"patience": 1, "epochs": 4, "stop_on": "auc"},
    ],
    ids=["full", "lora", "moments", "stopping"],
)
def test_a_model_is_the_same_blind_to_its_test_patients(data, tmp_path, settings) -> None:
    assert _differences(data, tmp_path, **settings) == set()


def test_what_is_blinded_is_the_test_patients_and_nobody_else(data, tmp_path) -> None:
    outer = next(iter(_folds(data)))
    names = {data.patient_ids[i] for i in outer.test}
    blinded = _blinded(data, outer, tmp_path)
    for i, name in enumerate(data.scans.patient_ids):
        before, after = (read_rows(one.activations.files[i], "maps") for one in (data, blinded))
        assert np.array_equal(before, after) == (name not in names)


def _plant(monkeypatch: pytest.MonkeyPatch, train_on: Callable[[TrainingView], object]) -> None:
    """Let the tail of every fit be trained on what `train_on` makes of its view."""

    def leaky(view, plan, **settings):
        fit, _ = fit_outer_tail(train_on(view), plan, **settings)
        tail = fit.tails[-1]
        table = dataclasses.replace(
            view.scans, features=tail.features(view.activations, ["max"])["max"]
        )
        return fit, dataclasses.replace(view, tables={"max": table}, activations=None)

    monkeypatch.setattr(one_fit, "fit_outer_tail", leaky)


def test_a_test_patient_in_a_batch_is_caught(data, tmp_path, monkeypatch) -> None:
    outer = next(iter(_folds(data)))
    stranger = data.patient_ids[outer.test[0]]
    cohorts = iter([data, _blinded(data, outer, tmp_path)])

    def fit(cohort: LabelledFeatures) -> FittedModel:
        _plant(monkeypatch, lambda view: cohort.view([*view.labels, stranger]))
        return _fit(cohort, outer, patience=0).fit.model

    found = {str(one["what"]) for one in head_differences(*map(fit, cohorts))}
    assert {"tensor weight", "tensor tail.tail.deep.0.weight"} <= found


def test_moments_of_test_patients_are_caught(data, tmp_path) -> None:
    """Test patients without a part in the loss, whose maps only pass the normalisation."""
    outer = next(iter(_folds(data)))
    cohorts = [data, _blinded(data, outer, tmp_path)]

    def fit(cohort: LabelledFeatures) -> FittedModel:
        everybody = cohort.view(cohort.labels)

        model = _fit(cohort, outer, patience=0).fit.model
        network = model.tail.source.start(model.tail.spec)
        layer = network.tail.deep[1].train()
        for scan in range(len(everybody.scans.scan_ids)):
            network.tail(everybody.activations.read(scan))
        moments = {
            f"tail.deep.1.{name}": getattr(layer, name).numpy()
            for name in ("running_mean", "running_var")
        }
        tail = dataclasses.replace(model.tail, tensors={**model.tail.tensors, **moments})
        return dataclasses.replace(model, tail=tail)

    found = {str(one["what"]) for one in head_differences(*map(fit, cohorts))}
    assert "tensor tail.tail.deep.1.running_mean" in found


def test_stopping_on_outer_folds_is_caught(data, tmp_path, monkeypatch) -> None:
    """The number of epochs is the best for the patients whom the outer fold holds out."""
    outer = next(iter(_folds(data)))
    names = np.array([data.patient_ids[i] for i in outer.test], dtype=object)
    plan = TailPlan(spec=fast(epochs=6, patience=6), source=source())
    cohorts = [data, _blinded(data, outer, tmp_path)]

    def fit(cohort: LabelledFeatures) -> FittedModel:
        everybody = cohort.view(cohort.labels)
        watched = fit_inner_tail(everybody, names, plan, pooling="max", seed=0)
        n_epochs = chosen_epochs([watched], plan.spec)
        monkeypatch.setattr(one_fit, "chosen_epochs", lambda *_: n_epochs)
        return _fit(cohort, outer, epochs=6, patience=6).fit.model

    found = {str(one["what"]) for one in head_differences(*map(fit, cohorts))}
    assert "fact tuning" in found


def test_a_tail_that_folds_share_is_caught(data, tmp_path, monkeypatch) -> None:
    """Trained in the first fold, used in the second, whose test patients it has seen."""
    first, second = list(_folds(data))[:2]
    cohorts = [data, _blinded(data, second, tmp_path)]

    def fit(cohort: LabelledFeatures) -> FittedModel:
        shared = cohort.view([cohort.patient_ids[i] for i in first.train])
        _plant(monkeypatch, lambda view: shared)
        return _fit(cohort, second, patience=0).fit.model

    found = {str(one["what"]) for one in head_differences(*map(fit, cohorts))}
    assert "tensor tail.tail.deep.0.weight" in found


def _reachable(start: object) -> set[Path]:
    """Return all paths that can be reached from an object."""
    seen: dict[int, object] = {}
    todo = [start]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, type | types.ModuleType | types.FunctionType):
            continue
        seen[id(one)] = one
        if not isinstance(one, Path):
            todo += gc.get_referents(one)
    return {one for one in seen.values() if isinstance(one, Path)}


def test_a_view_leads_to_the_scans_of_its_patients_and_to_no_others(data) -> None:
    for outer in _folds(data):
        names = {data.patient_ids[i] for i in outer.train}
        own = {
            file
            for file, name in zip(data.activations.files, data.scans.patient_ids, strict=True)
            if name in names
        }
        view = data.view(names)
        assert _reachable(view) == own
        assert _reachable(view.view(sorted(names)[:4])) < own
    # The twin: the cohort leads to everybody.
    assert _reachable(data) == set(data.activations.files)


def test_activations_stay_with_their_scans(data) -> None:
    """Every way to take patients from a cohort takes the right files, in the right order."""
    file_of = dict(zip(data.scans.scan_ids, data.activations.files, strict=True))
    some = data.patient_ids[3:9]
    for taken in (data.view(some), data.only(some), data.resampled([5, 0, 5]), data):
        assert list(taken.activations.files) == [file_of[name] for name in taken.scans.scan_ids]
    halves = data.only(data.patient_ids[:8]).joined(data.only(data.patient_ids[8:]))
    assert list(halves.activations.files) == [file_of[name] for name in halves.scans.scan_ids]
    with pytest.raises(ValueError, match="whole scans lie at the cut"):
        data.view_of_slices(np.ones((18, 4), dtype=bool))


def test_folds_beside_each_other_are_those_one_after_the_other(data) -> None:
    folds = list(_folds(data))[:3]
    together = list(fit_folds(_estimator(), data, folds, seed=4))
    for one, outer in zip(together, folds, strict=True):
        alone = _fit(data, outer)
        assert head_differences(one.fit.model, alone.fit.model) == []
        np.testing.assert_array_equal(one.held_out.output.logits, alone.held_out.output.logits)
    tails = [one.fit.model.tensors["tail.tail.deep.0.weight"].tobytes() for one in together]
    assert len(set(tails)) == 3


@pytest.mark.parametrize("head", [LinearHeadSpec(), AttentionHeadSpec(hidden=4, epochs=3)])
def test_a_model_on_disk_scores_as_it_did(data, tmp_path, head) -> None:
    outer = next(iter(_folds(data)))
    estimator = _estimator(patience=0).set_params(head=head)
    (result,) = fit_folds(estimator, data, [outer], seed=4)
    model = result.fit.model
    files = model.write(tmp_path / "r0_f0")
    assert {file.name for file in files} == {
        "r0_f0.json", "r0_f0.safetensors", "r0_f0_tail.json", "r0_f0_tail.safetensors",
    }  # fmt: skip
    again = FittedModel.read(tmp_path / "r0_f0", repeat=0, fold=0)
    held = data.only([data.patient_ids[i] for i in outer.test])
    expected = patient_scores(model, held)
    np.testing.assert_array_equal(patient_scores(again.with_source(source()), held), expected)
    with pytest.raises(HeadError, match="cannot score features of the untuned trunk"):
        patient_scores(again, dataclasses.replace(held, activations=None))


def test_what_was_done_is_written_beside_the_head(data, tmp_path) -> None:
    model = _fit(data, next(iter(_folds(data))), patience=2).fit.model
    model.write(tmp_path / "r0_f0")
    record = FittedModel.read(tmp_path / "r0_f0", repeat=0, fold=0).record.tuning
    assert record == model.record.tuning
    assert (record.cut, record.stages) == ("middle", ("deep",))
    assert record.settings.strategy == "some"
    assert record.parameters == 8 * 54 + 8 + 16
    assert len(record.loss) == record.epochs <= 3
    assert len(record.inner) == 2
    for curve in record.inner:
        assert len(curve.auc) == len(curve.log_loss) > record.epochs


def test_the_search_compares_heads_on_the_features_of_inner_tails(data) -> None:
    estimator = _estimator(patience=0).set_params(
        search=SearchSpec(space={"heads.zones": [1]}, sampler="grid")
    )
    (result,) = fit_folds(estimator, data, [next(iter(_folds(data)))], seed=4)
    trials = result.fit.model.record.trials
    assert [len(trial["inner_auc"]) for trial in trials] == [2, 2]
    assert set(result.fit.inner_folds) == {0, 1}


def test_a_tail_needs_what_lies_at_the_cut(data) -> None:
    bare = dataclasses.replace(data, activations=None)
    with pytest.raises(ConfigurationError, match="activations at the cut are not known"):
        _fit(bare, next(iter(_folds(data))))


def test_a_tail_learns_what_the_frozen_trunk_does_not_show(tmp_path) -> None:
    """Sanity: with labels in the pictures held-out patients are told apart."""
    data = labelled_cohort(tmp_path, n_patients=24, signal=60.0)
    results = list(fit_folds(_estimator(epochs=6), data, _folds(data), seed=1))
    assert _pooled_auc(data, results) > 0.9


_N_DRAWS = 12


@pytest.fixture
def individuals(tmp_path) -> LabelledFeatures:
    """Patients who differ from each other far more than the labels do."""
    return labelled_cohort(tmp_path, n_patients=16, signal=60.0, own_pattern=40.0, cut=INPUT)


def _null_error(data: LabelledFeatures) -> float:
    """Return the standard error of a mean of AUCs whose labels say nothing (Mann-Whitney)."""
    n, n_positive = len(data.patient_ids), int(data.is_positive.sum())
    variance = (n + 1) / (12 * n_positive * (n - n_positive))
    return float(np.sqrt(variance / _N_DRAWS))


def _mean_permuted_auc(
    data: LabelledFeatures, plant: Callable[[LabelledFeatures], None] = lambda _: None
) -> float:
    """Return the mean held-out AUC over draws of permuted labels, by tails that learn by heart."""
    spec = fast(
        strategy="all", epochs=15, patience=0, learning_rate=0.03, layer_decay=1.0, l2_sp=0.0
    )
    estimator = TransferClassifier(
        head=LinearHeadSpec(), tail=TailPlan(spec=spec, source=source(INPUT))
    )
    rng, found = np.random.default_rng(0), []
    for _ in range(_N_DRAWS):
        drawn = rng.permutation([data.labels[name] for name in data.patient_ids])
        permuted = dataclasses.replace(
            data, labels=dict(zip(data.patient_ids, drawn.tolist(), strict=True))
        )
        plant(permuted)
        folds = folds_of(permuted.scans, permuted.scan_is_positive)
        found.append(_pooled_auc(permuted, fit_folds(estimator, permuted, folds, seed=1)))
    return float(np.mean(found))


@pytest.mark.slow
def test_permuted_labels_reach_chance(individuals) -> None:
    assert _mean_permuted_auc(individuals) == pytest.approx(0.5, abs=3 * _null_error(individuals))


@pytest.mark.slow
def test_permuted_labels_beat_chance_where_tails_have_seen_the_test_patients(
    individuals, monkeypatch
) -> None:
    """The twin: the tail alone has seen them. Head, threshold and number of epochs have not."""

    def plant(permuted: LabelledFeatures) -> None:
        _plant(monkeypatch, lambda _: permuted.view(permuted.labels))

    assert _mean_permuted_auc(individuals, plant) > 0.5 + 3 * _null_error(individuals)


def _pooled_auc(data: LabelledFeatures, results) -> float:
    scores = {}
    for one in results:
        scores |= one.fit.model.patients(one.held_out.output, one.held_out.owners)
    return auc(data.is_positive, [scores[name] for name in data.patient_ids])
