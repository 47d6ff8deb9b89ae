"""Features that depend on more than their scan are told from those that do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mri_transfer.evaluation.audit.preprocessing import check_preprocessing, feature_difference
from mri_transfer.models.features import ScanFeatures


@pytest.fixture
def scan() -> ScanFeatures:
    rng = np.random.default_rng(0)
    return ScanFeatures(
        scan_id="one",
        features=rng.standard_normal((7, 8)).astype(np.float32),
        z_mm=np.arange(7, dtype=np.float32) - 3,
    )


def _changed(scan: ScanFeatures, place: tuple[int, int], value: float) -> ScanFeatures:
    features = scan.features.copy()
    features[place] = value
    return dataclasses.replace(scan, features=features)


def test_the_same_bytes_pass(scan) -> None:
    again = dataclasses.replace(scan, features=scan.features.copy(), z_mm=scan.z_mm.copy())
    check = check_preprocessing([(scan, again)] * 3)
    assert check.passed
    assert check.n_checked == 3


def test_the_last_bit_of_one_value_is_found_with_its_place(scan) -> None:
    value = np.nextafter(scan.features[4, 5], np.float32(9))
    found = feature_difference(scan, _changed(scan, (4, 5), value))
    assert (found["slice"], found["feature"], found["z_mm"]) == (4, 5, 1.0)
    assert 0 < found["largest_difference"] < 1e-6
    assert (found["n_values"], found["n_all"]) == (1, 56)


def test_the_largest_of_several_differences_is_named(scan) -> None:
    other = _changed(_changed(scan, (0, 0), 50.0), (6, 7), -90.0)
    found = feature_difference(scan, other)
    assert (found["slice"], found["feature"]) == (6, 7)
    assert found["largest_difference"] == pytest.approx(90.0 + scan.features[6, 7])


def test_a_value_that_is_no_number_and_a_negative_zero_are_found(scan) -> None:
    found = feature_difference(scan, _changed(scan, (2, 3), float("nan")))
    assert (found["slice"], found["feature"]) == (2, 3)
    assert found["largest_difference"] is None
    zero = _changed(scan, (1, 1), 0.0)
    assert feature_difference(zero, _changed(scan, (1, 1), -0.0))["n_values"] == 1


def test_other_heights_another_shape_and_another_scan_are_found(scan) -> None:
    heights = dataclasses.replace(scan, z_mm=scan.z_mm + np.float32(0.5))
    assert feature_difference(scan, heights)["what"] == "z_mm"
    shorter = dataclasses.replace(scan, features=scan.features[:6])
    assert feature_difference(scan, shorter)["what"] == "form of features"
    wider = dataclasses.replace(scan, features=scan.features.astype(np.float64))
    assert "float64" in feature_difference(scan, wider)["alone"]
    assert feature_difference(scan, dataclasses.replace(scan, scan_id="two"))["what"] == "scan"


def test_a_check_of_nothing_does_not_pass() -> None:
    assert not check_preprocessing([]).passed
