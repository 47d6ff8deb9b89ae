"""check: which scans can be read and have a label, and why the others cannot be used."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from mri_transfer.cohorts.exclusions import Exclusion, write_exclusions
from mri_transfer.cohorts.labels import demand_both_labels, why_unused
from mri_transfer.cohorts.manifest.manifest import Manifest, read_manifest
from mri_transfer.errors import NoUsableScanError, ScanError
from mri_transfer.scans.volumes import load_volume
from pipelines.config import RunConfig
from pipelines.pool import map_scans
from pipelines.stage import Context, StageResult
from pipelines.unsettled import refused_state

__all__ = ["work"]


def _faults(config: RunConfig, scan: Mapping[Hashable, Any]) -> tuple[str | None, str | None]:
    """Return why a scan is excluded, and the state of its file if a later run may revise that."""
    label = scan["label"] if isinstance(scan["label"], str) else None
    reason = why_unused(label, config.labels)
    if reason is not None:
        return reason, None
    try:
        load_volume(scan["path"], scan_id=scan["scan_id"], spec=config.volumes)
    except ScanError as error:
        return str(error), refused_state(error, scan["path"])
    return None, None


def _exclusions(
    context: Context, manifest: Manifest, unsettled: dict[str, str]
) -> Iterator[Exclusion | None]:
    """Yield, scan by scan, why it is excluded, or None; note what a later run may take back."""
    scans = manifest.scans.to_dict("records")
    faults = map_scans(functools.partial(_faults, context.config), scans, jobs=context.jobs)
    for scan, (reason, state) in zip(scans, faults, strict=True):
        if state is not None:
            unsettled[scan["path"]] = state
        yield (
            None
            if reason is None
            else Exclusion(
                scan_id=scan["scan_id"], patient_id=scan["patient_id"], stage="check", reason=reason
            )
        )


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    manifest = read_manifest(workspace.source_manifest)
    labels = [label if isinstance(label, str) else None for label in manifest.scans["label"]]
    if context.shard is None:
        demand_both_labels(labels, config.labels)
    total = len(manifest.scans)
    unsettled: dict[str, str] = {}
    tracked = context.reporter.track(
        _exclusions(context, manifest, unsettled), total=total, what="checking scans"
    )
    refused = [exclusion for exclusion in tracked if exclusion is not None]
    write_exclusions(workspace.refused, refused)
    if len(refused) == total:
        raise NoUsableScanError(str(workspace.source_manifest), workspace.refused)
    return StageResult(
        outputs=[workspace.refused],
        summary=f"{total - len(refused)} of {total} scans can be read and used, "
        f"{len(refused)} refused",
        exclusions=len(refused),
        unsettled=unsettled,
        computed=total,
    )
