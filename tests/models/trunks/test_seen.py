"""What weights have seen: carried in their file, held against a cohort, naming nobody."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mri_transfer.core.tensorfile import write_tensors
from mri_transfer.errors import WeightsError
from mri_transfer.models.trunks import TRUNKS, TrunkSpec, load_trunk
from mri_transfer.models.trunks.library_weights import WEIGHTS_SCHEMA
from mri_transfer.models.trunks.seen import SeenScans

A, B, C = (hashlib.sha256(name.encode()).hexdigest() for name in "abc")


def _file(folder: Path, seen: SeenScans) -> Path:
    weights = TRUNKS["autoencoder"].random_weights(3)
    path = folder / "weights.safetensors"
    write_tensors(path, {**weights.tensors, **seen.tensors()}, schema=WEIGHTS_SCHEMA)
    return path


@pytest.fixture
def seen() -> SeenScans:
    return SeenScans.of([A, B], ["sub-Ann", "sub-Bob"], size_px=96)


def test_a_file_of_weights_carries_what_they_have_seen_and_names_nobody(
    seen: SeenScans, tmp_path: Path
) -> None:
    path = _file(tmp_path, seen)
    assert SeenScans.read(path) == seen
    assert b"Ann" not in path.read_bytes()
    other = tmp_path / "other"
    other.mkdir()
    # Neither does the order tell who is who.
    turned = SeenScans.of([B, A], ["sub-Bob", "sub-Ann"], size_px=96)
    assert _file(other, turned).read_bytes() == path.read_bytes()


def test_a_scan_is_known_by_its_content_and_a_patient_by_name(seen: SeenScans) -> None:
    cohort = [("one", "sub-X", A), ("two", "sub-Bob", C), ("three", "sub-Y", C)]
    assert seen.shared(cohort) == {"one": "sha256", "two": "patient_id"}
    with pytest.raises(
        WeightsError, match=r"one \(the same file\), two \(a patient of the same name\)"
    ):
        seen.demand_none(cohort)
    seen.demand_none(cohort[2:])


def test_weights_that_do_not_say_what_they_have_seen_are_refused(tmp_path: Path) -> None:
    tensors = TRUNKS["autoencoder"].random_weights(3).tensors
    path = tmp_path / "bare.safetensors"
    save_file({name: np.array(values) for name, values in tensors.items()}, path)
    with pytest.raises(WeightsError, match=r"does not say which scans.*mri-transfer pretrain"):
        load_trunk(TrunkSpec(name="autoencoder"), weights_path=path)


def test_the_copy_in_the_cache_still_says_what_the_weights_have_seen(
    seen: SeenScans, tmp_path: Path
) -> None:
    find, cache = TRUNKS["autoencoder"].find_weights, tmp_path / "cache"
    cache.mkdir()
    first = find(path=_file(tmp_path, seen), cache=cache)
    again = find(path=None, cache=cache, digest=first.digest)
    assert (again.source, again.seen) == ("cache", seen)
    assert all(np.array_equal(first.tensors[k], again.tensors[k]) for k in first.tensors)


def test_without_a_file_the_command_that_makes_one_is_named() -> None:
    with pytest.raises(WeightsError, match=r"make them with `mri-transfer pretrain"):
        load_trunk(TrunkSpec(name="autoencoder"))


def test_each_trunk_has_its_own_kind_of_weights() -> None:
    assert TrunkSpec(name="autoencoder").weights == "scans"
    assert TrunkSpec().weights == "imagenet"
    for name, wrong in (("autoencoder", "imagenet"), ("vgg16", "scans")):
        with pytest.raises(ValueError, match="or 'random'"):
            TrunkSpec(name=name, weights=wrong)
