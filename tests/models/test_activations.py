"""What lies at the cut: stored as it was computed, under a key of all that shaped it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_transfer.errors import StoreError
from mri_transfer.models.activations import ActivationStore, ActivationTable, activation_key
from mri_transfer.models.features import FeatureSpec
from mri_transfer.models.trunks import TrunkSpec, load_trunk
from mri_transfer.scans.slices import SliceStack

_SPEC = TrunkSpec(weights="random", seed=1, layer="block2_pool")
_FEATURES = FeatureSpec(precision="fp32", device="cpu")


def _stack() -> SliceStack:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32)).astype(np.uint8)
    return SliceStack(scan_id="s", pixels=pixels, z_mm=np.arange(6, dtype=np.float32))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_slices_are_read_as_the_prefix_computed_them(tmp_path: Path, precision) -> None:
    prefix = load_trunk(_SPEC, precision=precision, device="cpu")
    store = ActivationStore(tmp_path)
    store.put("ab" * 32, _stack(), prefix)
    assert "ab" * 32 in store
    table = ActivationTable(files=(store.path("ab" * 32),), array=ActivationStore.array)
    expected = prefix.forward_slices(torch.from_numpy(_stack().pixels))
    whole = table.read(0)
    assert whole.dtype == {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert torch.equal(whole.float(), expected)
    some = table.read(0, np.array([4, 1, 4]))
    assert torch.equal(some.float(), expected[[4, 1, 4]])


def test_half_as_many_bytes_are_kept_in_half_the_precision(tmp_path: Path) -> None:
    sizes = []
    for precision in ("fp32", "bf16"):
        store = ActivationStore(tmp_path / precision)
        store.put("ab" * 32, _stack(), load_trunk(_SPEC, precision=precision, device="cpu"))
        sizes.append(store.path("ab" * 32).stat().st_size)
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.01)


def test_a_key_tells_cuts_slices_weights_and_precision_apart() -> None:
    def key(slices: str = "a", features: FeatureSpec = _FEATURES, **trunk: object) -> str:
        spec = dataclasses.replace(_SPEC, **trunk)
        return activation_key(slices=slices, trunk_spec=spec, feature_spec=features)

    others = {
        key(),
        key("b"),
        key(layer="block3_pool"),
        key(seed=2),
        key(features=dataclasses.replace(_FEATURES, precision="bf16")),
    }
    assert len(others) == 5
    # How maps are pooled comes after the cut.
    assert key(features=dataclasses.replace(_FEATURES, pooling="flatten")) == key()


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    table = ActivationTable(files=(tmp_path / "gone.safetensors",), array="maps")
    with pytest.raises(StoreError, match=r"gone\.safetensors"):
        table.read(0, np.array([0]))
