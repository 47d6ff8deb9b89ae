"""slices: 32 axial slices of every scan, into the cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.scans.slices import SliceSpec, SliceStack, SliceStore, cut_slices, slices_key
from mri_transfer.scans.volumes import VolumeSpec
from pipelines.indexes import load_prepared, read_prepared_index
from pipelines.pool import map_scans
from pipelines.stage import Context, StageResult

__all__ = ["work"]

#: A row of `read_prepared_index`.
Scan = dict[str, str]
Row = dict[str, str | int | float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cutting:
    """How scans are cut, and where to."""

    cache: Path
    volumes: VolumeSpec
    slices: SliceSpec

    def stack(self, key: str, scan: Scan) -> SliceStack:
        """Read a scan's stack from the cache; cut it if it is not there or damaged."""
        store = SliceStore(self.cache)
        if key in store:
            return store.get(key, scan_id=scan["scan_id"])
        stack = cut_slices(load_prepared(scan, self.volumes), self.slices)
        store.put(key, stack)
        return stack

    def row(self, scan: Scan) -> Row:
        """Return a scan's row in slices.csv."""
        key = slices_key(volume_key=scan["volume_key"], spec=self.slices)
        stack = self.stack(key, scan)
        return {
            "scan_id": scan["scan_id"],
            "patient_id": scan["patient_id"],
            "scan_sha256": scan["scan_sha256"],
            "key": key,
            "n_slices": len(stack.z_mm),
            "z_low_mm": round(float(stack.z_mm[0]), 3),
            "z_high_mm": round(float(stack.z_mm[-1]), 3),
        }


def _cut(cutting: _Cutting, scans: Sequence[Scan], cores: int | None) -> Iterator[Row]:
    return map_scans(cutting.row, scans, jobs=cores)


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    scans = read_prepared_index(workspace)
    cutting = _Cutting(
        cache=workspace.cache.absolute(), volumes=config.volumes, slices=config.slices
    )
    store = SliceStore(cutting.cache)
    missing = sum(
        slices_key(volume_key=scan["volume_key"], spec=config.slices) not in store for scan in scans
    )
    cuts = context.executor().map(partial(_cut, cutting), scans)
    rows = list(context.reporter.track(cuts, total=len(scans), what="cutting slices"))
    table = pd.DataFrame(rows)
    atomic_write_text(workspace.slices, table.to_csv(index=False, lineterminator="\n"))
    return StageResult(
        outputs=[workspace.slices],
        summary=f"{config.slices.n_slices} slices of {len(rows)} scans",
        computed=missing,
    )
