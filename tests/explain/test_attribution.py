"""Maps against captum, against sums, and against the heads they are of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mri_transfer.explain.attribution import Activations, explain_scan, spread
from mri_transfer.explain.fold_model import feature_gradients, fold_model
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.explain.scan_maps import MapStore, ScanMaps, fold_digest, maps_key
from mri_transfer.models.heads import apply_head
from mri_transfer.models.pooling import Maxima, PoolMaps
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import Tail
from mri_transfer.scans.slices import SliceSpec
from mri_transfer.training.fitted_model import FittedModel
from tests.explain.phantom import (
    CHANNELS,
    KINDS,
    SLICES,
    TinyTrunk,
    make_head,
    make_stack,
    make_trained,
)
from tests.phantoms import ras_affine

ROWS, COLUMNS = 4, 3


def _maps() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.relu(torch.randn(SLICES, CHANNELS, ROWS, COLUMNS, generator=generator))


def _through(kind: str, pooling: str):
    maps = _maps()
    n_features = CHANNELS * (ROWS * COLUMNS if pooling == "flatten" else 1)
    one = FittedModel(repeat=0, fold=0, head=make_head(kind, n_features))
    model = fold_model(one, "p")
    gradients = feature_gradients(model, PoolMaps(pooling)(maps).numpy())
    return maps, model, gradients.astype(np.float32)


def _logits(fold, pooling: str, maps: torch.Tensor) -> torch.Tensor:
    return fold.slice_logits(PoolMaps(pooling)(maps).double(), torch.arange(SLICES))


@pytest.mark.parametrize("pooling", ["max", "average", "flatten"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_map_is_captums_gradient_times_activation(kind: str, pooling: str) -> None:
    from captum.attr import InputXGradient

    maps, fold, gradients = _through(kind, pooling)
    model = torch.nn.Module()
    model.forward = lambda given: _logits(fold, pooling, given)
    wanted = InputXGradient(model).attribute(maps.clone().requires_grad_()).sum(1)
    found = spread(maps, gradients[None], pooling)[0]
    assert np.allclose(found, wanted.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("pooling", ["max", "average", "flatten"])
def test_the_classic_one_is_captums_grad_cam(pooling: str) -> None:
    from captum.attr import LayerGradCam

    maps, fold, gradients = _through("linear", pooling)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Identity()

        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return _logits(fold, pooling, self.layer(given))

    model = Model()
    wanted = LayerGradCam(model, model.layer).attribute(maps.clone().requires_grad_())
    found = spread(maps, gradients[None], pooling, averaged=True)[0]
    assert np.allclose(found, wanted[:, 0].detach().numpy(), atol=1e-4)


def test_places_that_share_the_largest_value_share_its_part() -> None:
    maps = torch.zeros(1, 1, 2, 2)
    maps[0, 0, 0, 1] = maps[0, 0, 1, 0] = 3.0
    found = spread(maps, np.full((1, 1, 1), 2.0, dtype=np.float32), "max")
    assert np.array_equal(found[0, 0], [[0, 3], [3, 0]])


def _explained(kind: str = "linear", features=None):
    stack, trunk = make_stack(), TinyTrunk()
    trained = make_trained(kind)
    pooled = PoolMaps("max")(trunk.forward_slices(torch.from_numpy(stack.pixels))).numpy()
    spec = SliceSpec(n_slices=SLICES, size_px=32)
    geometry = SliceGeometry.of((32, 32, 10), ras_affine(), stack.z_mm, spec)
    features = {"max": pooled} if features is None else features
    return (
        trained,
        pooled,
        explain_scan(
            stack,
            [Activations.through(trunk, stack, ["max"])] * len(trained),
            trained,
            patient_id="p",
            geometry=geometry,
            features=features,
        ),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_largest_values_give_the_same_bytes_as_whole_maps(kind: str) -> None:
    """In the trunk's own size: products of matrices round by their shape."""
    maps = torch.relu(torch.randn(SLICES, 512, 14, 14, generator=torch.Generator().manual_seed(2)))
    # As in bf16, where largest values are shared; and silent channels.
    maps = (maps * (torch.arange(512) % 50 > 0)[:, None, None]).bfloat16().float()
    maps = maps.contiguous(memory_format=torch.channels_last)
    features = {"max": PoolMaps("max")(maps).numpy()}
    maxima = Maxima.of(maps)
    assert len(maxima.ties) > 10
    assert (maxima.first == 196).any()
    stack = make_stack()
    trained = [
        FittedModel(repeat=r, fold=f, head=make_head(kind, 512, seed=2 * r + f))
        for r, f in np.ndindex(2, 2)
    ]
    spec = SliceSpec(n_slices=SLICES, size_px=32)

    def explained(activations: torch.Tensor | Maxima, n_threads: int) -> ScanMaps:
        torch.set_num_threads(n_threads)
        return explain_scan(
            stack,
            [Activations(features=features, maps=activations)] * len(trained),
            trained,
            patient_id="p",
            geometry=SliceGeometry.of((32, 32, 10), ras_affine(), stack.z_mm, spec),
            features=features,
        )

    before = torch.get_num_threads()
    try:
        by_maps = explained(maps, 2)
        assert all(by_maps.same(explained(maxima, n_threads)) for n_threads in (1, 2, 3))
    finally:
        torch.set_num_threads(before)
    assert np.abs(by_maps.exact).max() > 0


def test_grad_cam_asks_for_whole_maps() -> None:
    maps = _maps()
    activations = Activations(features={"max": PoolMaps("max")(maps).numpy()}, maps=Maxima.of(maps))
    with pytest.raises(ValueError, match="largest values"):
        activations.spread(np.ones((1, SLICES, CHANNELS), np.float32), "max", averaged=True)


def test_linear_heads_maps_add_up_to_their_log_odds_without_the_bias() -> None:
    trained, _, found = _explained()
    for h, one in enumerate(trained):
        parts = (found.logits[h] - one.head.tensors["bias"]) * found.weights[h]
        assert np.allclose(found.exact[h].sum((1, 2)), parts, atol=1e-5)


def test_slices_say_what_the_heads_say() -> None:
    trained, pooled, found = _explained("attention")
    for h, one in enumerate(trained):
        output = apply_head(one.head, pooled[None])
        assert np.array_equal(found.logits[h], output.logits[0])
        assert np.array_equal(found.weights[h], output.weights[0])


@pytest.mark.parametrize("kind", KINDS)
def test_each_head_is_explained_by_the_maps_of_its_own_trunk(kind: str) -> None:
    """As where tails are trained: the same as explaining each head alone, and complete."""
    stack, trained = make_stack(), make_trained(kind)
    spec = SliceSpec(n_slices=SLICES, size_px=32)
    shared = {
        "patient_id": "p",
        "geometry": SliceGeometry.of((32, 32, 10), ras_affine(), stack.z_mm, spec),
        "features": {},
        "grad_cam": True,
    }
    read = [Activations.through(TinyTrunk(seed=i), stack, ["max"]) for i, _ in enumerate(trained)]
    found = explain_scan(stack, read, trained, **shared)
    for h, one in enumerate(trained):
        alone = explain_scan(stack, [read[h]], [one], **shared)
        for name in ("exact", "logits", "weights"):
            np.testing.assert_array_equal(getattr(found, name)[h], getattr(alone, name)[0])
        if h < len(found.gradcam):
            np.testing.assert_array_equal(found.gradcam[h], alone.gradcam[0])
        if kind == "linear":
            parts = (found.logits[h] - one.head.tensors["bias"]) * found.weights[h]
            np.testing.assert_allclose(found.exact[h].sum((1, 2)), parts, atol=1e-5)
    assert not np.allclose(found.exact[0], found.exact[1], atol=1e-3)


def test_features_of_another_model_are_noticed() -> None:
    _, pooled, same = _explained()
    assert same.mismatch == 0
    _, _, other = _explained(features={"max": pooled * 1.5})
    assert other.mismatch == pytest.approx(1 / 3, rel=1e-3)


def test_permuting_the_weights_keeps_the_heads_and_changes_the_map() -> None:
    _, _, found = _explained()
    assert found.randomised.shape == (2, SLICES, 4, 4)
    assert not np.allclose(found.randomised, found.exact[:2], atol=1e-3)


def test_a_stored_map_comes_back_as_it_was(tmp_path) -> None:
    _, _, found = _explained()
    store = MapStore(tmp_path)
    store.put("ab" * 32, found)
    assert store.get("ab" * 32).same(found)
    assert not dataclasses.replace(found, exact=found.exact + 1).same(found)


def _key(trained) -> str:
    return maps_key(features_key="k", patient_id="p", trained=trained, grad_cam=False)


def test_the_key_is_another_for_other_heads() -> None:
    trained = make_trained()
    key = _key(trained)
    assert key == _key(make_trained())
    weight = trained[0].head.tensors["weight"]
    weight[0, 0] += 1e-3
    assert key != _key(trained)
    assert fold_digest(trained[0]) != fold_digest(trained[1])


def test_the_key_is_another_for_other_tails() -> None:
    trained = make_trained()
    digests = [fold_digest(trained[0])]
    for value in (0.0, 1.0):
        tail = Tail(
            tensors={"tail.deep.0.bias": np.full(3, value, dtype=np.float16)},
            spec=TuningSpec(strategy="some"),
            cut="middle",
            weights_digest="0" * 64,
        )
        digests.append(fold_digest(dataclasses.replace(trained[0], tail=tail)))
    assert len(set(digests)) == 3
