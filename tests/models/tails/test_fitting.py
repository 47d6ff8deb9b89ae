"""A tail learns from its scans, always the same, and touches nothing that is frozen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_transfer.errors import HeadError
from mri_transfer.models.tails.fitting import choose_epochs, fit_tail
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.trainer import Epoch, LabelledActivations
from mri_transfer.models.trunks import INPUT
from tests.tails_phantom import N_SLICES, fast, labelled_cohort, source


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> LabelledActivations:
    return _labelled(tmp_path_factory.mktemp("scans"))


def _labelled(folder: Path, **settings) -> LabelledActivations:
    data = labelled_cohort(folder, **settings)
    return LabelledActivations(
        activations=data.activations,
        patient_ids=data.scans.patient_ids,
        labels=data.scan_is_positive,
        n_slices=N_SLICES,
    )


def _only(scans: LabelledActivations, rows: list[int]) -> LabelledActivations:
    return LabelledActivations(
        activations=scans.activations.rows(rows),
        patient_ids=tuple(scans.patient_ids[i] for i in rows),
        labels=scans.labels[rows],
        n_slices=N_SLICES,
    )


def _fit(tails: TailSource, scans: LabelledActivations, seed: int = 0, **settings):
    spec = fast(**settings)
    return fit_tail(tails, spec, scans, pooling="max", seed=seed, n_epochs=spec.epochs)


def _bytes(tail: Tail) -> dict[str, bytes]:
    return {name: values.tobytes() for name, values in tail.tensors.items()}


def test_training_lowers_the_loss_and_moves_the_stage(scans) -> None:
    fit = _fit(source(), scans, epochs=12, head_first=False)
    losses = [epoch.loss for epoch in fit.epochs[1:]]
    assert losses[-1] < 0.5 * losses[0]
    assert fit.distances["deep"] > 0.01
    assert fit.n_parameters == sum(p.numel() for p in source().network.parameters())


def test_the_probe_gives_the_head_a_start_that_is_better_than_none(scans) -> None:
    first = [
        _fit(source(), scans, epochs=1, learning_rate=1e-6, head_learning_rate=1e-6, head_first=one)
        for one in (True, False)
    ]
    probed, blank = (fit.epochs[1].loss for fit in first)
    assert probed < 0.7 * blank


@pytest.mark.parametrize("method", ["full", "ssf", "norm", "lora"])
@pytest.mark.parametrize("moments", ["frozen", "adapt"])
def test_the_same_seed_gives_the_same_bytes_and_the_source_stays(scans, method, moments) -> None:
    tails = source()
    before = {name: v.numpy().tobytes() for name, v in tails.network.state_dict().items()}
    settings = {"method": method, "norm_moments": moments}
    first, again, other = (
        _fit(tails, scans, seed=seed, **settings).tails[-1] for seed in (1, 1, 2)
    )
    assert _bytes(first) == _bytes(again) != _bytes(other)
    after = {name: v.numpy().tobytes() for name, v in tails.network.state_dict().items()}
    assert after == before


@pytest.mark.parametrize("method", ["ssf", "norm", "lora"])
def test_frozen_tensors_of_a_thawed_stage_are_the_same_to_the_last_byte(scans, method) -> None:
    tails = source()
    network = _fit(tails, scans, method=method).tails[-1].network()
    state = network.state_dict()
    for name, values in tails.network.state_dict().items():
        kept = state.get(
            name, state.get(name.replace("weight", "parametrizations.weight.original"))
        )
        if method == "norm" and ".1." in name and "running" not in name:
            continue
        assert kept.numpy().tobytes() == values.numpy().tobytes(), name


def test_moments_follow_the_scans_only_where_they_are_asked_to(scans) -> None:
    frozen, adapted = (
        _fit(source(), scans, norm_moments=one).tails[-1] for one in ("frozen", "adapt")
    )
    moments = {"tail.deep.1.running_mean", "tail.deep.1.running_var"}
    assert not moments & set(frozen.tensors)
    assert moments <= set(adapted.tensors)
    before = source().network.state_dict()["tail.deep.1.running_mean"]
    assert not np.allclose(adapted.tensors["tail.deep.1.running_mean"], before)


def test_a_tail_can_begin_at_the_pixels(tmp_path) -> None:
    whole = _labelled(tmp_path, cut=INPUT)
    fit = _fit(source(INPUT), whole, strategy="all", layer_decay=0.5)
    assert set(fit.distances) == {"stem", "middle", "deep"}
    assert all(fit.distances.values())


def test_each_patient_counts_once_and_labels_alike(scans) -> None:
    """Patients 0 and 1 have two scans; of six patients four are negative."""
    rows = [0, 2, 4, 6, 1, 3, 16, 17]
    weights = _only(scans, rows).weights()
    # Negative: 6 / (2 x 4); positive: 6 / (2 x 2); halved where there are two scans.
    np.testing.assert_allclose(weights, [0.375, 0.75, 0.75, 0.75, 0.75, 1.5, 0.375, 0.75])


def test_one_label_cannot_be_learned_from(scans) -> None:
    with pytest.raises(HeadError, match="both labels"):
        _fit(source(), _only(scans, [0, 2, 4]))


def test_held_out_patients_are_watched_and_teach_nothing(scans) -> None:
    train, held = _only(scans, list(range(10))), _only(scans, list(range(10, 16)))
    flipped = dataclasses.replace(held, labels=1 - held.labels)
    spec = fast(patience=0)
    plain = fit_tail(source(), spec, train, pooling="max", seed=0, n_epochs=3)
    watched, lied_to = (
        fit_tail(source(), spec, train, pooling="max", seed=0, n_epochs=3, held_out=one)
        for one in (held, flipped)
    )
    assert [len(one.tails) for one in (plain, watched)] == [1, 4]
    assert not watched.tails[0].tensors
    for one, other in zip(watched.tails, lied_to.tails, strict=True):
        assert _bytes(one) == _bytes(other)
    assert _bytes(plain.tails[-1]) == _bytes(watched.tails[-1])
    for one, other in zip(watched.epochs, lied_to.epochs, strict=True):
        assert one.auc == pytest.approx(1 - other.auc)


def test_a_fit_stops_when_inner_patients_gain_nothing(scans) -> None:
    train, held = _only(scans, list(range(10))), _only(scans, list(range(10, 16)))
    lies = dataclasses.replace(held, labels=1 - held.labels)
    spec = fast(epochs=30, patience=2, stop_on="log_loss")
    fit = fit_tail(source(), spec, train, pooling="max", seed=0, n_epochs=30, held_out=lies)
    assert len(fit.epochs) < 31


def _curve(*log_losses: float) -> list[Epoch]:
    return [Epoch(log_loss=value, auc=1 - value) for value in log_losses]


def test_the_number_of_epochs_is_the_best_of_the_mean_curve() -> None:
    spec = fast(epochs=9, patience=2)
    # Means over what both reached: 0.7, 0.5, 0.45, 0.55; the second's later fall counts for none.
    curves = [_curve(0.6, 0.5, 0.5, 0.6), _curve(0.8, 0.5, 0.4, 0.5, 0.1)]
    assert choose_epochs(curves, spec) == 2
    assert choose_epochs(curves, dataclasses.replace(spec, stop_on="auc")) == 2
    assert choose_epochs(curves, dataclasses.replace(spec, patience=0)) == 9


def test_no_epoch_at_all_is_a_choice_unless_weights_are_random() -> None:
    worse = [_curve(0.4, 0.6, 0.5)]
    assert choose_epochs(worse, fast(patience=2)) == 0
    random = fast(strategy="all", start="random", patience=2)
    assert choose_epochs(worse, random) == 2


def test_slices_can_be_trained_one_by_one(scans) -> None:
    by_patient, by_slice = (
        _fit(source(), scans, loss=one).tails[-1] for one in ("patient", "slice")
    )
    assert _bytes(by_patient) != _bytes(by_slice)


def test_a_fit_owes_nothing_to_the_number_of_threads(scans) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            found.append(_bytes(_fit(source(), scans).tails[-1]))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
