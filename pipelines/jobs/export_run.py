"""export-features, export-slices: what the cache holds of a run's scans, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mri_transfer.core.files import atomic_write_bytes, atomic_write_text
from mri_transfer.errors import ConfigurationError
from mri_transfer.report.figures import Orientation, slice_pngs
from mri_transfer.training.feature_files import FEATURE_WRITERS
from pipelines.config import RunConfig
from pipelines.indexes import read_index, read_stacks
from pipelines.plan.order import STAGES
from pipelines.running import demand_trusted
from pipelines.stage import Context, Reporter
from pipelines.stages.features import read_feature_table
from pipelines.workspace import Workspace

__all__ = ["export_run_features", "export_run_slices"]


def export_run_features(
    workspace: Workspace,
    config: RunConfig,
    out: Path,
    *,
    formats: Sequence[str],
    reporter: Reporter,
) -> list[Path]:
    """Write the features of a run as `OUT/features.<format>`, one file per format.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
    out : Path
        Created if missing.
    formats : sequence of {"csv", "npz", "parquet"}
    reporter : Reporter

    Returns
    -------
    list of Path

    Raises
    ------
    RunFolderError
        If the features are missing, edited or stale.
    """
    context = Context(workspace=workspace, config=config, reporter=reporter)
    demand_trusted(context, [(workspace.features, "features")], stages=STAGES, caches=("features",))
    table = read_feature_table(workspace)
    files = [out / f"features.{name}" for name in formats]
    for name, file in zip(formats, files, strict=True):
        FEATURE_WRITERS[name](file, table)
        reporter.note(f"{file.name}: {' x '.join(map(str, table.features.shape))} numbers")
    return files


def export_run_slices(
    workspace: Workspace,
    config: RunConfig,
    out: Path,
    *,
    scan_ids: Sequence[str],
    orientation: Orientation,
    reporter: Reporter,
) -> Path:
    """Write the slices of a run as PNG files, with a table of them.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
    out : Path
        Created if missing. A folder per scan, a file per slice from 00, the lowest, up.
    scan_ids : sequence of str
        Empty: all scans.
    orientation : {"neurological", "radiological"}
    reporter : Reporter

    Returns
    -------
    Path
        Of `OUT/slices.csv`: scan_id, patient_id, slice, z_mm and file.

    Raises
    ------
    ConfigurationError
        If a scan is not among those of the run.
    RunFolderError
        If the slices are missing, edited or stale.
    """
    context = Context(workspace=workspace, config=config, reporter=reporter)
    demand_trusted(context, [(workspace.slices, "slices")], stages=STAGES, caches=("slices",))
    index = read_index(workspace.slices)
    unknown = sorted(set(scan_ids) - set(index["scan_id"]))
    if unknown:
        raise ConfigurationError(
            "no such scan in the run", where="--scan", found=", ".join(unknown)
        )
    owners = dict(zip(index["scan_id"], index["patient_id"], strict=True))
    stacks, rows = read_stacks(workspace, workspace.slices, scan_ids=scan_ids), []
    total = len(scan_ids or owners)
    for stack in reporter.track(stacks, total=total, what="writing slices"):
        for number, content in enumerate(slice_pngs(stack, orientation=orientation)):
            name = f"{stack.scan_id}/{number:02d}.png"
            atomic_write_bytes(out / name, content)
            z_mm = float(stack.z_mm[number])
            rows.append((stack.scan_id, owners[stack.scan_id], number, z_mm, name))
    table = pd.DataFrame(rows, columns=["scan_id", "patient_id", "slice", "z_mm", "file"])
    atomic_write_text(out / "slices.csv", table.to_csv(index=False, lineterminator="\n"))
    return out / "slices.csv"
