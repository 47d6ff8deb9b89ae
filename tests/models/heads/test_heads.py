"""Heads learn from training slices alone, and reach what their definitions say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mri_transfer.errors import HeadError, StoreError
from mri_transfer.metrics.discrimination import auc
from mri_transfer.models.heads import (
    AttentionHeadSpec,
    Head,
    LinearHeadSpec,
    MlpHeadSpec,
    apply,
    apply_head,
    fit_head,
    head_module,
    linear_fit,
)
from mri_transfer.models.heads.mlp_fit import _glorot
from tests.synthetic import feature_table

SPECS = [
    LinearHeadSpec(inverse_l2=(1.0,)),
    MlpHeadSpec(hidden=8, epochs=3),
    AttentionHeadSpec(hidden=4, epochs=10),
]
KINDS = [spec.kind for spec in SPECS]


def _mask(table, patients) -> np.ndarray:
    rows = np.isin(np.array(table.patient_ids), patients)
    return np.repeat(rows[:, None], table.features.shape[1], axis=1)


def _halves(table):
    names = sorted(set(table.patient_ids))
    return names[: len(names) // 2], names[len(names) // 2 :]


@pytest.mark.parametrize("spec", SPECS, ids=KINDS)
def test_what_is_held_out_has_no_influence(spec) -> None:
    table, labels = feature_table(two_sessions=3)
    train, test = _halves(table)
    slices = _mask(table, train)
    head = fit_head(spec, table, labels, slices=slices, seed=3)
    spoiled = table.features.copy()
    held = np.isin(np.array(table.patient_ids), test)
    spoiled[held] = 1e3
    others = dataclasses.replace(table, features=spoiled)
    turned = np.where(held, 1 - labels, labels)
    again = fit_head(spec, others, turned, slices=slices, seed=3)
    for name, values in head.tensors.items():
        assert np.array_equal(values, again.tensors[name]), name


@pytest.mark.parametrize("spec", SPECS, ids=KINDS)
def test_a_planted_signal_is_found_on_patients_held_out(spec) -> None:
    table, labels = feature_table(n_patients=80, signal=2.0)
    train, test = _halves(table)
    if spec.kind == "mlp":
        spec = dataclasses.replace(spec, hidden=32, epochs=20)
    head = fit_head(spec, table, labels, slices=_mask(table, train))
    held = np.isin(np.array(table.patient_ids), test)
    output = apply_head(head, table.features[held])
    assert auc(labels[held], (output.logits * output.weights).sum(axis=1)) > 0.85


@pytest.mark.parametrize("spec", SPECS, ids=KINDS)
def test_a_head_reads_back_as_written(spec, tmp_path: Path) -> None:
    table, labels = feature_table()
    head = fit_head(spec, table, labels)
    dataclasses.replace(head, facts={"threshold": 0.25}).write(tmp_path / "r0_f1")
    again = Head.read(tmp_path / "r0_f1")
    assert again.kind == spec.kind
    assert again.facts == {"threshold": 0.25}
    before, after = apply_head(head, table.features), apply_head(again, table.features)
    assert np.array_equal(before.logits, after.logits)


@pytest.mark.parametrize("spec", SPECS, ids=KINDS)
def test_weights_of_a_scans_slices_add_up_to_one(spec) -> None:
    table, labels = feature_table()
    head = fit_head(spec, table, labels)
    np.testing.assert_allclose(apply_head(head, table.features).weights.sum(axis=1), 1, rtol=1e-5)


def test_a_damaged_head_is_refused(tmp_path: Path) -> None:
    table, labels = feature_table()
    head = fit_head(SPECS[0], table, labels)
    head.write(tmp_path / "head")
    file = tmp_path / "head.safetensors"
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(StoreError, match=r"head\.safetensors"):
        Head.read(tmp_path / "head")


def test_other_features_are_refused() -> None:
    table, labels = feature_table()
    head = fit_head(SPECS[0], table, labels)
    with pytest.raises(HeadError, match="other features"):
        apply_head(head, table.features[:, :, :7])


def test_a_fit_without_both_labels_is_refused() -> None:
    table, labels = feature_table()
    healthy = [name for name, label in zip(table.patient_ids, labels, strict=True) if label == 0]
    with pytest.raises(HeadError, match="both labels"):
        fit_head(SPECS[0], table, labels, slices=_mask(table, healthy))


def test_a_height_without_a_training_slice_is_refused() -> None:
    table, labels = feature_table(n_slices=4)
    train = np.ones(table.features.shape[:2], dtype=bool)
    train[:, 2] = False
    with pytest.raises(HeadError, match=r"slices 2 of 4.*at every height.*more patients"):
        fit_head(SPECS[0], table, labels, slices=train)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("spec", SPECS[1:], ids=KINDS[1:])
def test_heads_are_trained_on_the_device_that_is_asked_for(
    spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that seems to have a GPU: whoever touches it here fails."""
    table, labels = feature_table(n_patients=8)
    monkeypatch.setattr(apply, "resolve_device", lambda name: "cuda" if name == "auto" else name)
    head = fit_head(spec, table, labels, device="cpu")
    assert np.isfinite(apply_head(head, table.features).logits).all()
    with pytest.raises((RuntimeError, AssertionError), match=r"NVIDIA|CUDA"):
        fit_head(spec, table, labels, device="auto")


@pytest.mark.parametrize("spec", SPECS, ids=KINDS)
def test_a_head_whose_tensors_do_not_fit_each_other_is_refused(spec) -> None:
    table, labels = feature_table(n_patients=8)
    head = fit_head(spec, table, labels)
    for name, values in head.tensors.items():
        wrong = (values[..., None], values.astype(np.complex64), np.append(values, 0))
        # The number of slices of a linear head stands in its bias alone.
        alone = (spec.kind, name) == ("linear", "bias")
        for other in wrong[:2] if alone else wrong:
            with pytest.raises(HeadError, match="does not fit"):
                head_module(dataclasses.replace(head, tensors={**head.tensors, name: other}))
    with pytest.raises(HeadError, match="not the tensors"):
        head_module(dataclasses.replace(head, tensors={}))


def test_the_linear_head_is_logistic_regression_on_patient_means() -> None:
    table, labels = feature_table(n_patients=30, n_features=5)
    head = fit_head(LinearHeadSpec(inverse_l2=(0.3,), zones=1, scaling="feature"), table, labels)
    means = table.features.mean(axis=1, dtype=np.float64)
    scaled = (means - means.mean(0)) / means.std(0)
    oracle = LogisticRegression(C=0.3, class_weight="balanced", tol=1e-10, max_iter=10000)
    oracle.fit(scaled, labels)
    mine = apply_head(head, table.features).logits.mean(axis=1)
    np.testing.assert_allclose(mine, oracle.decision_function(scaled), rtol=1e-3, atol=1e-4)


def test_zones_have_weights_of_their_own_and_average_to_the_patient() -> None:
    table, labels = feature_table(n_patients=30, n_slices=7, n_features=5)
    head = fit_head(LinearHeadSpec(inverse_l2=(0.3,), zones=2, scaling="feature"), table, labels)
    low, high = table.features[:, :4].mean(axis=1), table.features[:, 4:].mean(axis=1)
    both = np.concatenate([low, high], axis=1).astype(np.float64)
    scaled = (both - both.mean(0)) / both.std(0)
    oracle = LogisticRegression(C=0.3, class_weight="balanced", tol=1e-10, max_iter=10000)
    oracle.fit(scaled, labels)
    output = apply_head(head, table.features)
    mine = (output.logits * output.weights).sum(axis=1)
    np.testing.assert_allclose(mine, oracle.decision_function(scaled), rtol=1e-3, atol=1e-4)
    # The average slice of each height says what the intercept says, so slices can be read alone.
    np.testing.assert_allclose(output.logits.mean(axis=0), oracle.intercept_[0], atol=1e-3)


def test_global_scaling_divides_all_features_by_one_number() -> None:
    table, labels = feature_table(n_patients=30, n_features=5)
    table = dataclasses.replace(table, features=table.features * np.float32([1, 1, 9, 1, 0.1]))
    head = fit_head(LinearHeadSpec(inverse_l2=(5.0,), zones=1), table, labels)
    means = table.features.mean(axis=1, dtype=np.float64)
    scaled = (means - means.mean(0)) / np.sqrt(means.var(axis=0).sum())
    oracle = LogisticRegression(C=5.0, class_weight="balanced", tol=1e-10, max_iter=10000)
    oracle.fit(scaled, labels)
    mine = apply_head(head, table.features).logits.mean(axis=1)
    np.testing.assert_allclose(mine, oracle.decision_function(scaled), rtol=1e-3, atol=1e-4)


def test_averaged_penalties_are_the_mean_of_the_single_heads() -> None:
    table, labels = feature_table()

    def logits(spec: LinearHeadSpec) -> np.ndarray:
        head = fit_head(spec, table, labels)
        return apply_head(head, table.features).logits

    apart = [logits(LinearHeadSpec(inverse_l2=(c,))) for c in (1.0, 10.0)]
    joined = logits(LinearHeadSpec(inverse_l2=(1.0, 10.0)))
    np.testing.assert_allclose(joined, np.mean(apart, axis=0), atol=1e-4)


def test_two_sessions_of_a_patient_count_as_one_patient() -> None:
    table, labels = feature_table(n_patients=30, two_sessions=1)
    doubled = dataclasses.replace(
        table, features=np.concatenate([table.features[:-1], table.features[:1]])
    )
    single = dataclasses.replace(
        table,
        features=table.features[:-1],
        scan_ids=table.scan_ids[:-1],
        patient_ids=table.patient_ids[:-1],
        z_mm=table.z_mm[:-1],
    )
    fitted = []
    for one, values in ((doubled, labels), (single, labels[:-1])):
        head = fit_head(LinearHeadSpec(inverse_l2=(0.1,)), one, values)
        fitted.append(head.tensors["weight"])
    np.testing.assert_allclose(*fitted, atol=1e-6)


def test_the_mlp_head_follows_rmsprop_step_by_step() -> None:
    """Against torch's own RMSprop and autograd, without dropout and with one batch an epoch."""
    table, labels = feature_table(n_patients=6, n_slices=4, n_features=11)
    features = np.maximum(table.features, 0)
    features[:, :, 4] = 0  # a feature that is dead in training must stay as drawn
    table = dataclasses.replace(table, features=features)
    spec = MlpHeadSpec(hidden=5, dropout=0.0, batch_size=24, epochs=7)
    head = fit_head(spec, table, labels, seed=9)

    rng = np.random.default_rng(9)
    net = torch.nn.Sequential(torch.nn.Linear(11, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.from_numpy(_glorot(rng, 5, 11)))
        net[2].weight.copy_(torch.from_numpy(_glorot(rng, 1, 5)))
        net[0].bias.zero_()
        net[2].bias.zero_()
    optimiser = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9, eps=1e-7)
    x = torch.from_numpy(features.reshape(24, 11))
    y = torch.from_numpy(np.repeat(labels, 4).astype(np.float32))
    for _ in range(7):
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(x)[:, 0], y).backward()
        optimiser.step()
    np.testing.assert_allclose(head.tensors["kernel"], net[0].weight.detach(), atol=2e-5)
    np.testing.assert_allclose(head.tensors["last"], net[2].weight.detach()[0], atol=2e-5)
    np.testing.assert_allclose(
        apply_head(head, features).logits.ravel(), net(x).detach()[:, 0], atol=2e-4
    )


def test_attention_finds_the_slice_that_matters() -> None:
    rng = np.random.default_rng(0)
    table, labels = feature_table(n_patients=120, n_slices=6, n_features=8, signal=0, identity=0)
    features = rng.standard_normal(table.features.shape).astype(np.float32)
    features[:, 2, 0] += 6.0  # marks the slice that carries the label
    features[:, 2, 1] += np.where(labels == 1, 2.0, -2.0)
    table = dataclasses.replace(table, features=features)
    spec = AttentionHeadSpec(hidden=8, learning_rate=1e-2, epochs=300)
    head = fit_head(spec, table, labels)
    assert apply_head(head, features).weights[:, 2].mean() > 0.5


def test_many_patients_are_fitted_without_a_basis_and_alike(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    rows = rng.standard_normal((60, 2, 6)) + labels[:, None, None]
    spec = LinearHeadSpec()
    weight, intercept = linear_fit.solve_rows(rows, labels, spec, n_slices=4)
    monkeypatch.setattr(linear_fit, "_MANY_PATIENTS", 10)
    many, free = linear_fit.solve_rows(rows, labels, spec, n_slices=4)
    np.testing.assert_allclose(many, weight, rtol=1e-3, atol=1e-4)
    assert free == pytest.approx(intercept, abs=1e-4)


def test_rows_of_patients_whose_zones_are_slices() -> None:
    table, labels = feature_table(n_patients=6, n_slices=2, two_sessions=3)
    shown = np.ones((9, 2), dtype=bool)
    rows, values = linear_fit.patient_rows(table, labels, shown, zones=2)
    owners = np.array(table.patient_ids)
    for i, name in enumerate(dict.fromkeys(table.patient_ids)):
        own = table.features[owners == name].astype(np.float64)
        np.testing.assert_allclose(rows[i], own.mean(axis=0))
        assert values[i] == labels[owners == name][0]
