"""Features of the same scans by several tails: each its own, made once, kept in the cache."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_transfer.models.features import encode_poolings
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.tuned_features import Reader, TailTrunks, TunedTables
from mri_transfer.models.tails.tuned_trunk import TunedTrunk
from mri_transfer.models.trunks import load_trunk
from mri_transfer.training.dataset import LabelledFeatures
from tests.bundle.tuned import pictures, scan_of, tuned_cohort, tuned_recipe

CONFIG = tuned_recipe()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> LabelledFeatures:
    return tuned_cohort(tmp_path_factory.mktemp("scans"), CONFIG, n_patients=4)


@pytest.fixture(scope="module")
def tails() -> tuple[Tail, Tail]:
    """Two tails that differ in one kernel."""
    source = _trunks().source
    name, kernel = next(
        (name, p.numpy()) for name, p in source.network.state_dict().items() if p.ndim == 4
    )
    one, other = (
        Tail(
            tensors={name: (kernel * factor).astype(np.float16)},
            spec=CONFIG.tuning,
            cut=source.cut,
            weights_digest=source.weights_digest,
            source=source,
        )
        for factor in (0.5, 1.5)
    )
    return one, other


@functools.cache
def _trunks() -> TailTrunks:
    whole = load_trunk(CONFIG.trunk, precision="fp32", device="cpu")
    source = TailSource.of_trunk(whole, CONFIG.tuning, CONFIG.features)
    at_cut = dataclasses.replace(CONFIG.trunk, layer=source.cut)
    return TailTrunks(
        spec=CONFIG.trunk,
        source=source,
        prefix=load_trunk(at_cut, precision="fp32", device="cpu"),
        whole=whole,
    )


def _tables(cohort: LabelledFeatures, tails: tuple[Tail, Tail], cache: Path, **given):
    readers = {f"r0_f{i}": Reader(tail=tail, pooling="max") for i, tail in enumerate(tails)}
    keys = {"max": [f"{i:064x}" for i in range(len(cohort.scans.scan_ids))]}
    return TunedTables(
        _trunks(),
        readers,
        cohort.scans,
        activations=cohort.activations,
        keys=keys,
        cache=cache,
        **given,
    )


def test_each_reader_has_the_features_of_its_own_tail(cohort, tails, tmp_path) -> None:
    tables = _tables(cohort, tails, tmp_path)
    assert list(tables) == ["r0_f0", "r0_f1"]
    for name, tail in zip(tables, tails, strict=True):
        expected = tail.features(cohort.activations, ["max"])["max"]
        np.testing.assert_array_equal(tables[name].features, expected)
        maps = tables.maps(name, 2)
        np.testing.assert_array_equal(PoolMaps("max")(maps).numpy(), expected[2])
    assert not np.allclose(tables["r0_f0"].features, tables["r0_f1"].features)
    assert tables["r0_f0"].scan_ids == cohort.scans.scan_ids


def test_slices_pass_as_their_activations_did(cohort, tails, tmp_path) -> None:
    """What disturbed scans pass through, on scans as they are."""
    tables, trunks = _tables(cohort, tails, tmp_path), _trunks()
    for i, pixels in enumerate(pictures(4)):
        found = encode_poolings(scan_of(pixels), trunks.of(tails[1]), ["max"])["max"]
        np.testing.assert_array_equal(found.features, tables["r0_f1"].features[i])


def test_a_scan_passes_once(cohort, tails, tmp_path, monkeypatch) -> None:
    first = _tables(cohort, tails, tmp_path)["r0_f0"].features
    passes: list[int] = []
    whole = TunedTrunk.resume

    def counted(self: TunedTrunk, kept: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return whole(self, kept)

    monkeypatch.setattr(TunedTrunk, "resume", counted)
    again = _tables(cohort, tails, tmp_path)
    np.testing.assert_array_equal(again["r0_f0"].features, first)
    assert not passes
    # Features of another tail are others.
    assert again.features("r0_f1", 0).shape == first[0].shape
    assert len(passes) == 1


def test_features_that_are_not_asked_for_are_not_numbers(cohort, tails, tmp_path) -> None:
    own = {"r0_f0": ["p001"], "r0_f1": []}
    tables = _tables(cohort, tails, tmp_path, patients=own)
    whole = _tables(cohort, tails, tmp_path / "other")["r0_f0"].features
    np.testing.assert_array_equal(tables["r0_f0"].features[1], whole[1])
    assert np.isnan(tables["r0_f0"].features[[0, 2, 3]]).all()
    assert np.isnan(tables["r0_f1"].features).all()
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 1
