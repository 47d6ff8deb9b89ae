"""Features: several poolings of one pass, and tables whose rows stay with their scans."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mri_transfer.models.features import (
    FeatureSpec,
    FeatureStore,
    FeatureTable,
    MaximaStore,
    ScanFeatures,
    encode,
    encode_poolings,
    encode_with_maxima,
)
from mri_transfer.scans.slices import SliceStack
from tests.synthetic import feature_table

MAPS = torch.arange(2 * 3 * 2 * 2, dtype=torch.float32).reshape(2, 3, 2, 2)
STACK = SliceStack(
    scan_id="s1",
    pixels=np.zeros((2, 8, 8), dtype=np.uint8),
    z_mm=np.array([1.0, 2.0], dtype=np.float32),
)


class CountingTrunk:
    """Gives the same maps whatever it sees, and counts how often it is asked."""

    def __init__(self) -> None:
        self.passes = 0

    def forward_slices(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.dtype == torch.uint8
        self.passes += 1
        return MAPS


def test_every_pooling_comes_from_one_pass_and_has_its_hand_value() -> None:
    trunk = CountingTrunk()
    found = encode_poolings(STACK, trunk, ["max", "average", "flatten"])
    assert trunk.passes == 1
    assert found["max"].features.tolist() == [[3, 7, 11], [15, 19, 23]]
    assert found["average"].features.tolist() == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
    assert found["flatten"].features.tolist() == [list(range(12)), list(range(12, 24))]
    for one in found.values():
        assert one.scan_id == "s1"
        assert one.features.dtype == np.float32
        assert one.features.flags.c_contiguous
        assert np.array_equal(one.z_mm, STACK.z_mm)


def test_one_pooling_alone_is_the_same() -> None:
    alone = encode(STACK, CountingTrunk(), FeatureSpec(pooling="average"))
    among = encode_poolings(STACK, CountingTrunk(), ["max", "average"])["average"]
    assert alone.features.tobytes() == among.features.tobytes()


def test_a_sorted_table_keeps_each_row_with_its_scan() -> None:
    table, _ = feature_table(n_patients=6, two_sessions=3)
    order = np.random.default_rng(0).permutation(len(table.scan_ids))
    mixed = FeatureTable(
        scan_ids=tuple(table.scan_ids[i] for i in order),
        patient_ids=tuple(table.patient_ids[i] for i in order),
        scan_sha256=tuple(table.scan_sha256[i] for i in order),
        features=table.features[order],
        z_mm=table.z_mm[order] + order[:, None],
    )
    found = mixed.sorted()
    assert list(found.patient_ids) == sorted(table.patient_ids)
    for i, scan in enumerate(found.scan_ids):
        k = mixed.scan_ids.index(scan)
        assert found.patient_ids[i] == mixed.patient_ids[k]
        assert found.scan_sha256[i] == mixed.scan_sha256[k]
        assert np.array_equal(found.features[i], mixed.features[k])
        assert np.array_equal(found.z_mm[i], mixed.z_mm[k])
    assert found.sorted() is found


def test_patient_means_weigh_every_slice_of_every_scan_the_same() -> None:
    table, _ = feature_table(n_patients=3, n_slices=4, n_features=5, two_sessions=1)
    table = dataclasses.replace(table, patient_ids=("b", "a", "c", "b"))
    names, means = table.patient_means()
    assert names == ("a", "b", "c")
    assert means.shape == (3, 5)
    both = np.concatenate([table.features[0], table.features[3]])
    np.testing.assert_allclose(means[1], both.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(means[0], table.features[1].mean(axis=0), rtol=1e-5)


def test_scans_of_a_table_make_the_table_again() -> None:
    table, _ = feature_table(n_patients=4, two_sessions=2)
    again = FeatureTable.collect(table.scans(), table.patient_ids, table.scan_sha256)
    for field in dataclasses.fields(FeatureTable):
        assert np.array_equal(getattr(again, field.name), getattr(table, field.name))


def test_a_table_needs_an_owner_for_every_scan() -> None:
    table, _ = feature_table(n_patients=4)
    with pytest.raises(ValueError, match="3 scans for 4 patient ids"):
        FeatureTable.collect(table.scans()[:3], table.patient_ids, table.scan_sha256)


def test_stored_features_read_back_to_the_last_bit(tmp_path) -> None:
    one = ScanFeatures(
        scan_id="s1",
        features=np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32),
        z_mm=STACK.z_mm,
    )
    store = FeatureStore(tmp_path)
    store.put("a" * 64, one)
    again = store.get("a" * 64, scan_id="s1")
    assert again.features.tobytes() == one.features.tobytes()
    assert again.z_mm.tobytes() == one.z_mm.tobytes()


def test_largest_values_come_from_the_same_pass_and_change_no_feature() -> None:
    trunk = CountingTrunk()
    features, maxima = encode_with_maxima(STACK, trunk, ["max", "average"])
    assert trunk.passes == 1
    assert features.keys() == {"max", "average"}
    assert np.array_equal(features["max"].features, encode(STACK, trunk, FeatureSpec()).features)
    # Numbers grow along each map.
    assert maxima.first.tolist() == [[3] * 3] * 2


def test_largest_values_are_known_for_the_very_features_they_are_of(tmp_path) -> None:
    features, maxima = encode_with_maxima(STACK, CountingTrunk(), ["max"])
    values, store, key = features["max"].features, MaximaStore(tmp_path), "a" * 64
    assert store.find(key, values) is None
    store.put(key, maxima, values)
    again = store.find(key, values)
    assert again is not None
    assert again.cells == maxima.cells
    assert again.first.tobytes() == maxima.first.tobytes()
    assert again.first.dtype == maxima.first.dtype
    assert again.ties.tobytes() == maxima.ties.tobytes()
    # Another pass may round otherwise, and its largest values may then lie elsewhere.
    assert store.find(key, np.nextafter(values, np.float32(99))) is None
    path = store.path(key)
    path.write_bytes(path.read_bytes()[:-1])
    assert store.find(key, values) is None
