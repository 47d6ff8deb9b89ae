"""Features of a cohort as tables, and as files for R, Python and other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from mri_transfer.core.files import atomic_path
from mri_transfer.models.features import FeatureTable

__all__ = ["FEATURE_WRITERS", "features_frame"]

#: Scans that are held as a table at a time while a file is written.
_CHUNK = 64


def features_frame(
    table: FeatureTable, *, level: Literal["slices", "scans"] = "slices"
) -> pd.DataFrame:
    """Return features as a DataFrame.

    Parameters
    ----------
    table : FeatureTable
    level : {"slices", "scans"}
        A row per slice, or per scan with the mean over its slices.

    Returns
    -------
    DataFrame
        Columns scan_id, patient_id, of slices also slice (from 0, the lowest) and z_mm, then the
        features f0, f1 and so on as float32.
    """
    n_scans, n_slices, n_features = table.features.shape
    names = [f"f{i}" for i in range(n_features)]
    if level == "scans":
        frame = pd.DataFrame(table.features.mean(axis=1), columns=names)
        frame.insert(0, "patient_id", list(table.patient_ids))
        frame.insert(0, "scan_id", list(table.scan_ids))
        return frame
    frame = pd.DataFrame(table.features.reshape(n_scans * n_slices, n_features), columns=names)
    frame.insert(0, "z_mm", table.z_mm.ravel())
    frame.insert(0, "slice", np.tile(np.arange(n_slices), n_scans))
    frame.insert(0, "patient_id", np.repeat(np.array(table.patient_ids, dtype=object), n_slices))
    frame.insert(0, "scan_id", np.repeat(np.array(table.scan_ids, dtype=object), n_slices))
    return frame


def _write_csv(path: Path, table: FeatureTable) -> None:
    """Write a row per slice; numbers read back as the same float32."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for i, frame in enumerate(_chunks(table)):
            frame.to_csv(file, index=False, header=i == 0, float_format="%.9g", lineterminator="\n")


def _write_npz(path: Path, table: FeatureTable) -> None:
    """Write features (n_scans, n_slices, n_features), z_mm, scan_id and patient_id."""
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            features=table.features,
            z_mm=table.z_mm,
            scan_id=np.array(table.scan_ids, dtype=np.str_),
            patient_id=np.array(table.patient_ids, dtype=np.str_),
        )


def _write_parquet(path: Path, table: FeatureTable) -> None:
    """Write a row per slice."""
    import pyarrow
    from pyarrow import parquet

    writer = None
    with atomic_path(path) as temporary:
        for frame in _chunks(table):
            rows = pyarrow.Table.from_pandas(frame, preserve_index=False)
            if writer is None:
                writer = parquet.ParquetWriter(temporary, rows.schema)
            writer.write_table(rows)
        if writer is not None:
            writer.close()


def _chunks(table: FeatureTable) -> Iterator[pd.DataFrame]:
    for start in range(0, len(table.scan_ids), _CHUNK):
        some = slice(start, start + _CHUNK)
        yield features_frame(
            FeatureTable(
                scan_ids=table.scan_ids[some],
                patient_ids=table.patient_ids[some],
                scan_sha256=table.scan_sha256[some],
                features=table.features[some],
                z_mm=table.z_mm[some],
            )
        )


#: What writes a file of features, by the ending of its name.
FEATURE_WRITERS: dict[str, Callable[[Path, FeatureTable], None]] = {
    "csv": _write_csv,
    "npz": _write_npz,
    "parquet": _write_parquet,
}
