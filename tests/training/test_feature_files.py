"""Features read back from every kind of file as the numbers they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.models.features import FeatureTable
from mri_transfer.training import feature_files
from mri_transfer.training.feature_files import FEATURE_WRITERS, features_frame


@pytest.fixture
def table() -> FeatureTable:
    rng = np.random.default_rng(1)
    n = 5
    return FeatureTable(
        # Ids that a careless reader takes for numbers or for missing values.
        scan_ids=("007", "NA", "c", "d", "e"),
        patient_ids=("1", "1", "2", "3", "nan"),
        scan_sha256=("",) * n,
        features=rng.standard_normal((n, 3, 4)).astype(np.float32),
        z_mm=rng.standard_normal((n, 3)).astype(np.float32),
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_reads_back_bit_by_bit(
    kind: str, table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_files, "_CHUNK", 2)  # the parts of a large cohort
    file = tmp_path / f"features.{kind}"
    FEATURE_WRITERS[kind](file, table)
    if kind == "csv":
        numbers = dict.fromkeys(["z_mm", "f0", "f1", "f2", "f3"], np.float32)
        texts = {"scan_id": str, "patient_id": str}
        found = pd.read_csv(file, dtype={**texts, **numbers}, keep_default_na=False)
    else:
        found = pd.read_parquet(file)
    assert list(found.columns) == [
        "scan_id", "patient_id", "slice", "z_mm", "f0", "f1", "f2", "f3",
    ]  # fmt: skip
    assert found["scan_id"].tolist() == list(np.repeat(table.scan_ids, 3))
    assert found["patient_id"].tolist() == list(np.repeat(table.patient_ids, 3))
    assert found["slice"].tolist() == [0, 1, 2] * 5
    numbers = found[["f0", "f1", "f2", "f3"]].to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(numbers.reshape(5, 3, 4), table.features)
    np.testing.assert_array_equal(found["z_mm"].to_numpy(np.float32), table.z_mm.ravel())


def test_an_archive_of_arrays_needs_no_pickle(table: FeatureTable, tmp_path: Path) -> None:
    file = tmp_path / "features.npz"
    FEATURE_WRITERS["npz"](file, table)
    with np.load(file) as found:
        np.testing.assert_array_equal(found["features"], table.features)
        np.testing.assert_array_equal(found["z_mm"], table.z_mm)
        assert found["scan_id"].tolist() == list(table.scan_ids)
        assert found["patient_id"].tolist() == list(table.patient_ids)


def test_a_row_per_scan_holds_the_mean_of_its_slices(table: FeatureTable) -> None:
    frame = features_frame(table, level="scans")
    assert frame["scan_id"].tolist() == list(table.scan_ids)
    np.testing.assert_allclose(
        frame[["f0", "f1", "f2", "f3"]].to_numpy(), table.features.mean(axis=1)
    )
