"""Pretraining: it learns to restore, the same bytes again, and held-out patients only watch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_transfer.errors import FoldError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.pretraining.fit import Pretrained, UnlabelledSlices, pretrain
from mri_transfer.models.pretraining.spec import PretrainingSpec
from mri_transfer.models.trunks import TrunkSpec, load_trunk
from mri_transfer.models.trunks.seen import SeenScans
from mri_transfer.scans.slices import SliceStack, SliceStore

SPEC = PretrainingSpec(epochs=2, batch_slices=4, square_px=8, held_out=0.25, seed=5)
EDGE_PX, N_SLICES = 36, 4


def _slices(folder: Path, *, dark: str = "") -> UnlabelledSlices:
    """Bright discs whose size is the patient's; of one patient nothing at all, if it is named."""
    store, files = SliceStore(folder), []
    y, x = np.mgrid[:EDGE_PX, :EDGE_PX] - EDGE_PX / 2
    names = ("a", "b", "c", "d")
    for i, name in enumerate(names):
        radii = 6 + 2 * i + np.arange(N_SLICES)[:, None, None]
        pixels = (220 * (np.hypot(x, y) < radii)).astype(np.uint8)
        if name == dark:
            pixels[:] = 0
        key = f"{i:064x}"
        z_mm = np.arange(N_SLICES, dtype=np.float32)
        store.put(key, SliceStack(scan_id=name, pixels=pixels, z_mm=z_mm))
        files.append(store.path(key))
    return UnlabelledSlices(
        pixels=ActivationTable(files=tuple(files), array="pixels"),
        patient_ids=names,
        n_slices=N_SLICES,
    )


def _bytes(found: Pretrained) -> bytes:
    return b"".join(values.tobytes() for values in found.tensors.values())


def test_the_same_seed_gives_the_same_bytes_and_the_best_epoch_is_kept(tmp_path: Path) -> None:
    slices = _slices(tmp_path)
    found, again = pretrain(slices, SPEC), pretrain(slices, SPEC)
    assert _bytes(found) == _bytes(again)
    assert found.epochs == again.epochs
    other = pretrain(slices, dataclasses.replace(SPEC, seed=6))
    assert _bytes(other) != _bytes(found)
    losses = [epoch.held_out for epoch in found.epochs]
    assert found.kept == 1 + int(np.argmin(losses))
    assert found.n_held_out == 1


@pytest.mark.slow
def test_it_learns_to_restore_what_is_black(tmp_path: Path) -> None:
    slices = _slices(tmp_path)
    spec = dataclasses.replace(SPEC, epochs=40, learning_rate=3e-3)
    found = pretrain(slices, spec)
    whole = torch.cat([slices.pixels.read(i) for i in range(4)]).float() / 255
    # Better than the mean of all slices, which needs no slice to be looked at.
    mean = float((whole - whole.mean(0)).square().mean())
    assert found.epochs[found.kept - 1].held_out < 0.75 * mean


@pytest.mark.slow
def test_patients_held_out_only_choose_the_epoch(tmp_path: Path) -> None:
    """One patient's slices are made black: where it is held out, training does not change."""
    (tmp_path / "dark").mkdir()
    before = pretrain(_slices(tmp_path), SPEC)
    changed = []
    for name in "abcd":
        after = pretrain(_slices(tmp_path / "dark", dark=name), SPEC)
        losses = [one.training for one in before.epochs], [one.training for one in after.epochs]
        changed.append(losses[0] != losses[1])
        assert [e.held_out for e in before.epochs] != [e.held_out for e in after.epochs]
    assert sorted(changed) == [False, True, True, True]


def test_the_trunk_computes_what_the_encoder_did(tmp_path: Path) -> None:
    slices = _slices(tmp_path)
    found = pretrain(slices, dataclasses.replace(SPEC, epochs=1))
    path = tmp_path / "weights.safetensors"
    found.write(path, SeenScans.of([], slices.patient_ids, size_px=EDGE_PX))
    trunk = load_trunk(TrunkSpec(name="autoencoder"), precision="fp32", weights_path=path)
    assert trunk.weights_digest == found.digest
    maps = trunk.forward_slices(slices.pixels.read(0))
    # 36 pixels halved four times, rounding up: 18, 9, 5, 3.
    assert maps.shape == (N_SLICES, 256, 3, 3)
    kernel = torch.from_numpy(found.tensors["encode1.conv1.weight"])
    assert torch.equal(trunk.network.prefix[0][0].weight.float(), kernel)


def test_one_patient_is_too_few(tmp_path: Path) -> None:
    slices = dataclasses.replace(_slices(tmp_path), patient_ids=("a",) * 4)
    with pytest.raises(FoldError, match="two patients"):
        pretrain(slices, SPEC)
