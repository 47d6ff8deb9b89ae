"""PatientModel against the model written out in NumPy, slice by slice."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from scipy.special import expit, logit, softmax

from mri_transfer.models.aggregation import AGGREGATIONS, join_slices
from mri_transfer.models.heads import Head, SliceOutput
from mri_transfer.models.model import FeatureShift, PatientModel
from mri_transfer.models.pooling import POOLINGS
from mri_transfer.models.recalibration import Recalibration
from mri_transfer.models.trunks import InputScaling, TrunkNetwork
from tests.explain.phantom import CHANNELS, KINDS, SLICES, make_head

SCALING = InputScaling(mean=(120.0, 110.0, 100.0), deviation=(60.0, 50.0, 40.0), words="")
SIZE, EDGE = 8, 4
MAPS = {
    "none": Recalibration("none", {}),
    "platt": Recalibration("platt", {"slope": (0.6,), "intercept": (0.2,)}),
    "beta": Recalibration("beta", {"a": (0.5,), "b": (1.5,), "c": (-0.1,)}),
    "isotonic": Recalibration("isotonic", {"scores": (0.2, 0.5, 0.9), "values": (0.1, 0.6, 0.7)}),
}


def _trunk() -> TrunkNetwork:
    convolution = torch.nn.Conv2d(3, CHANNELS, 3, padding=1, bias=False)
    values = torch.randn(convolution.weight.shape, generator=torch.Generator().manual_seed(4))
    convolution.weight.data = values / 4
    stage = torch.nn.Sequential(convolution, torch.nn.ReLU(), torch.nn.AvgPool2d(2))
    return TrunkNetwork(torch.nn.Sequential(OrderedDict(only=stage)), SCALING)


def _maps(pixels: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """Scale, convolve, cut at zero and average, by loops; of one slice."""
    grey = np.pad(
        [(pixels - m) / d for m, d in zip(SCALING.mean, SCALING.deviation, strict=True)],
        [(0, 0), (1, 1), (1, 1)],
    )
    fine = np.zeros((CHANNELS, SIZE, SIZE))
    for c, i, j in np.ndindex(*fine.shape):
        fine[c, i, j] = max(0.0, (kernels[c] * grey[:, i : i + 3, j : j + 3]).sum())
    coarse = np.zeros((CHANNELS, EDGE, EDGE))
    for c, i, j in np.ndindex(*coarse.shape):
        coarse[c, i, j] = fine[c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean()
    return coarse


def _pooled(maps: np.ndarray, pooling: str) -> np.ndarray:
    if pooling == "flatten":
        return maps.ravel()
    return np.array([m.max() if pooling == "max" else m.mean() for m in maps])


def _said(head: Head, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log-odds and weights of one scan's slices, by the heads' definitions."""
    t = {name: values.astype(np.float64) for name, values in head.tensors.items()}
    logits, evidence = [], []
    for s, x in enumerate(features):
        if head.kind == "linear":
            zone = s * len(t["weight"]) // len(features)
            logits.append(x @ t["weight"][zone] + t["bias"][s])
        elif head.kind == "mlp":
            hidden = np.maximum(t["kernel"] @ x + t["bias"], 0)
            logits.append(hidden @ t["last"] + t["last_bias"][0])
        else:
            z = (x - t["mean"]) / t["deviation"]
            gated = np.tanh(t["value"] @ z + t["value_bias"]) * expit(
                t["gate"] @ z + t["gate_bias"]
            )
            evidence.append(gated @ t["attention"][0])
            logits.append(z @ t["weight"] + t["bias"][0])
    weights = softmax(evidence) if evidence else np.full(len(features), 1 / len(features))
    return np.array(logits), weights


def _joined(logits: np.ndarray, weights: np.ndarray, method: str) -> float:
    if method == "mean_probability":
        return np.mean([expit(one) for one in logits])
    if method == "majority":
        return np.mean([one > 0 for one in logits])
    if method == "mean_logit":
        return expit(np.mean(logits))
    return expit(sum(w * one for w, one in zip(weights, logits, strict=True)))


def _mapped(score: float, method: str) -> float:
    p = MAPS[method].parameters
    clipped = np.clip(score, 1e-6, 1 - 1e-6)
    if method == "none":
        return score
    if method == "isotonic":
        return np.interp(score, p["scores"], p["values"])
    if method == "platt":
        odds = p["slope"][0] * logit(clipped) + p["intercept"][0]
    else:
        odds = p["a"][0] * np.log(clipped) - p["b"][0] * np.log(1 - clipped) + p["c"][0]
    return np.clip(expit(odds), 1e-6, 1 - 1e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_the_one_written_out_in_numpy(kind: str, pooling: str) -> None:
    n_features = CHANNELS * (EDGE**2 if pooling == "flatten" else 1)
    head, trunk = make_head(kind, n_features), _trunk()
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 256, (2, SLICES, SIZE, SIZE)).astype(np.uint8)
    scale, shift = rng.uniform(0.1, 0.3, n_features), rng.normal(size=n_features) / 5
    kernels = trunk.state_dict()["prefix.only.0.weight"].numpy().astype(np.float64)
    said = [
        _said(
            head, np.array([_pooled(_maps(one, kernels), pooling) for one in scan]) * scale + shift
        )
        for scan in pixels
    ]
    for method in AGGREGATIONS:
        for map_name in MAPS:
            head.facts["procedure"].update(pooling=pooling, aggregation=method)
            head.facts["recalibration"] = MAPS[map_name].as_dict()
            harmonisation = FeatureShift(torch.from_numpy(scale), torch.from_numpy(shift))
            model = PatientModel.of_head(head, trunk=trunk, harmonisation=harmonisation).double()
            with torch.inference_mode():
                scores, slice_scores = model(torch.from_numpy(pixels))
            for n, (logits, weights) in enumerate(said):
                wanted = _mapped(_joined(logits, weights, method), map_name)
                assert float(scores[n]) == pytest.approx(wanted, abs=1e-9)
                np.testing.assert_allclose(slice_scores[n], expit(logits), atol=1e-9)


@pytest.mark.parametrize("method", AGGREGATIONS)
def test_scans_of_a_patient_count_the_same(method: str) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4, SLICES)).astype(np.float32)
    weights = softmax(rng.normal(size=(4, SLICES)), axis=1).astype(np.float32)
    owners = ["b", "a", "b", "b"]
    found = join_slices(SliceOutput(logits=logits, weights=weights), owners, method)
    assert list(found) == ["b", "a"]
    in_log_odds = AGGREGATIONS[method].in_log_odds
    for name, score in found.items():
        own = [
            _joined(row, w, method)
            for row, w, owner in zip(logits.astype(float), weights, owners, strict=True)
            if owner == name
        ]
        wanted = expit(np.mean(logit(own))) if in_log_odds else np.mean(own)
        assert score == pytest.approx(wanted, abs=1e-12)


def test_a_scan_scores_the_same_alone_and_in_company() -> None:
    model = PatientModel.of_head(make_head("attention"), trunk=_trunk()).double()
    pixels = torch.randint(0, 256, (3, SLICES, SIZE, SIZE), dtype=torch.uint8)
    with torch.inference_mode():
        together, _ = model(pixels)
        alone = [float(model(pixels[n : n + 1])[0]) for n in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_gradients_by_pixels_are_those_of_small_steps() -> None:
    model = PatientModel.of_head(make_head("mlp"), trunk=_trunk()).double()
    pixels = 255 * torch.rand(
        1, SLICES, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    assert torch.autograd.gradcheck(lambda given: model(given)[0], pixels.requires_grad_())


def test_a_model_without_a_trunk_says_that_it_begins_with_features() -> None:
    model = PatientModel.of_head(make_head("linear"))
    with pytest.raises(ValueError, match="no trunk"):
        model(torch.zeros(1, SLICES, SIZE, SIZE))
