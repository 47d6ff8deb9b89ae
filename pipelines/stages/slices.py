"""slices: 32 axial slices of every scan, into the cache."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.scans.slices import SliceStack, SliceStore, cut_slices, slices_key
from pipelines.indexes import load_prepared, read_prepared_index
from pipelines.pool import map_scans
from pipelines.stage import Context, StageResult

__all__ = ["work"]


def _stack(context: Context, store: SliceStore, key: str, scan: Mapping[str, str]) -> SliceStack:
    """Read a scan's stack from the cache; cut it if it is not there or damaged."""
    if key in store:
        return store.get(key, scan_id=scan["scan_id"])
    config = context.config
    stack = cut_slices(load_prepared(scan, config.volumes), config.slices)
    store.put(key, stack)
    return stack


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    store = SliceStore(workspace.cache)
    scans = read_prepared_index(workspace)

    def cut(scan: Mapping[str, str]) -> dict[str, str | int | float]:
        key = slices_key(volume_key=scan["volume_key"], spec=config.slices)
        stack = _stack(context, store, key, scan)
        return {
            "scan_id": scan["scan_id"],
            "patient_id": scan["patient_id"],
            "scan_sha256": scan["scan_sha256"],
            "key": key,
            "n_slices": len(stack.z_mm),
            "z_low_mm": round(float(stack.z_mm[0]), 3),
            "z_high_mm": round(float(stack.z_mm[-1]), 3),
        }

    missing = sum(
        slices_key(volume_key=scan["volume_key"], spec=config.slices) not in store for scan in scans
    )
    cuts = map_scans(cut, scans, jobs=context.jobs)
    rows = list(context.reporter.track(cuts, total=len(scans), what="cutting slices"))
    table = pd.DataFrame(rows)
    atomic_write_text(workspace.slices, table.to_csv(index=False, lineterminator="\n"))
    return StageResult(
        outputs=[workspace.slices],
        summary=f"{config.slices.n_slices} slices of {len(rows)} scans",
        computed=missing,
    )
