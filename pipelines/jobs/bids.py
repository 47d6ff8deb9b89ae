"""bids: the BIDS App's two levels: participants one by one, then the group."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mri_transfer.cohorts.exclusions import read_exclusions
from mri_transfer.cohorts.labels import why_unused
from mri_transfer.cohorts.manifest.manifest import Manifest
from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.words import counted, listed
from mri_transfer.core.files import read_json_object, write_json
from mri_transfer.core.specs import digest
from mri_transfer.errors import NoUsableScanError, RunFolderError
from mri_transfer.training.settings import InstancesSpec
from pipelines.config import RunConfig, read_config
from pipelines.jobs.bids_dataset import GROUP_FOLDER, begin_dataset, write_scans
from pipelines.lock import locked
from pipelines.plan.order import stages_until
from pipelines.plan.scans import FEATURES
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.settings import changed_settings
from pipelines.stage import Reporter
from pipelines.trunk_weights import with_weights_of
from pipelines.workspace import Workspace

__all__ = ["BidsCall", "analyse_group", "process_participants"]

_SCHEMA = "mri-transfer/bids-participants/1"


@dataclasses.dataclass(frozen=True, kw_only=True)
class BidsCall:
    """What both levels are told.

    Attributes
    ----------
    source : Path
        The raw data set; never written to.
    out : Path
        The derivative data set.
    work : Path
        Intermediate files: the cache, and a run folder per call at participant level. The same
        folder in all calls.
    filters : mapping
        Values by entity of the images to use, ``{"sub": ["01"], "ses": ["M00"]}``; empty: all.
    config : RunConfig
    weights : Path, optional
        A file with the trunk's weights.
    jobs : int, optional
        Number of scans, or of fits, processed in parallel; by default as cores and memory allow.
    """

    source: Path
    out: Path
    work: Path
    filters: Mapping[str, Sequence[str]]
    config: RunConfig
    weights: Path | None = None
    jobs: int | None = None

    @property
    def part(self) -> str:
        """A name for the participants of the call, the same for the same participants."""
        labels = sorted({label.removeprefix("sub-") for label in self.filters.get("sub", ())})
        if len(labels) == 1 and len(self.filters) == 1:
            return f"sub-{labels[0]}"
        first = f"sub-{labels[0]}" if labels else "all"
        chosen = {name: sorted(values) for name, values in self.filters.items()}
        return f"{first}_{digest({**chosen, 'sub': labels})[:8]}" if self.filters else first


def process_participants(call: BidsCall, *, reporter: Reporter) -> RunOutcome:
    """Prepare scans and compute their features; diagnoses are not looked at.

    Parameters
    ----------
    call : BidsCall
    reporter : Reporter

    Returns
    -------
    RunOutcome
        Of the stages up to the features. Where no scan can be used, all are among the excluded.

    Raises
    ------
    MriTransferError
        If the data set cannot be read, or a stage fails for another reason than a scan.
    """
    reading = read_bids_cohort(call.source, filters=call.filters, labelled=False)
    for note in reading.notes:
        reporter.detail(note)
    begin_dataset(call.out, call.source)
    config = dataclasses.replace(
        call.config,
        labels=dataclasses.replace(call.config.labels, unlabelled="keep"),
        # Another cohort's scans are the group's business.
        instances=InstancesSpec(),
    )
    folder = _parts(call.work) / call.part
    workspace = Workspace(root=folder, cache=call.work)
    with locked(workspace):
        record = folder / "processed.json"
        record.unlink(missing_ok=True)
        manifest = folder / "participants.csv"
        reading.manifest.write(manifest)
        # What other settings made is of no use to anybody.
        workspace = begin_run(manifest, folder, config, cache=call.work, overwrite=True)
        outcome = _run(workspace, config, call, reporter)
        _write_record(record, outcome, reading.manifest)
    return outcome


def _run(workspace: Workspace, config: RunConfig, call: BidsCall, reporter: Reporter) -> RunOutcome:
    try:
        outcome = run_pipeline(
            workspace,
            config,
            stages=stages_until(FEATURES.name),
            reporter=reporter,
            weights=call.weights,
            jobs=call.jobs,
        )
    except NoUsableScanError as error:
        return RunOutcome(
            workspace=workspace,
            records=(),
            excluded=read_exclusions(error.table),
            excluded_table=error.table,
        )
    written = write_scans(call.out, workspace, read_config(workspace.config), source=call.source)
    reporter.note(f"{counted(written, 'scan')} written to {call.out}")
    return outcome


def _parts(work: Path) -> Path:
    return work / "participants"


def _shaping(workspace: Workspace, config: RunConfig) -> dict[str, Any]:
    """Return the settings that shape features, with the weights that a run folder means."""
    config = with_weights_of(workspace, config)
    return {**config.sections("volumes", "preparation", "slices"), **FEATURES.specs(config)}


def _write_record(path: Path, outcome: RunOutcome, manifest: Manifest) -> None:
    """Note, once everything is done, which scans were processed and with which settings."""
    workspace = outcome.workspace
    write_json(
        path,
        {
            "schema": _SCHEMA,
            "scans": sorted(manifest.scans["scan_id"]),
            "excluded": {one.scan_id: one.reason for one in outcome.excluded},
            "settings": _shaping(workspace, read_config(workspace.config)),
        },
    )


def analyse_group(
    call: BidsCall,
    *,
    label_column: str | None,
    labels: Mapping[str, str | None] | None,
    overwrite: bool,
    reporter: Reporter,
) -> RunOutcome:
    """Train, evaluate and report on participants whose features are there.

    Parameters
    ----------
    call : BidsCall
    label_column, labels
        As in `read_bids_cohort`.
    overwrite : bool
        Allow other settings or participants than an earlier call had.
    reporter : Reporter

    Raises
    ------
    RunFolderError
        If participants were not processed, or with other settings.
    MriTransferError
        If the data set cannot be read, or a stage fails.
    """
    reading = read_bids_cohort(
        call.source, filters=call.filters, label_column=label_column, labels=labels
    )
    for note in reading.notes:
        reporter.note(note)
    _demand_processed(call, reading.manifest)
    begin_dataset(call.out, call.source)
    manifest = call.work / "group.csv"
    reading.manifest.write(manifest)
    workspace = begin_run(
        manifest, call.out / GROUP_FOLDER, call.config, cache=call.work, overwrite=overwrite
    )
    return run_pipeline(
        workspace, call.config, reporter=reporter, weights=call.weights, jobs=call.jobs
    )


def _demand_processed(call: BidsCall, manifest: Manifest) -> None:
    """Refuse a cohort with participants that the participant level has not done, all listed."""
    processed: set[str] = set()
    differing: dict[str, str] = {}
    for path in sorted(_parts(call.work).glob("*/processed.json")):
        record = read_json_object(path) or {}
        if record.get("schema") != _SCHEMA:
            continue
        own = Workspace(root=path.parent, cache=call.work)
        changed = changed_settings(record["settings"], _shaping(own, call.config))
        if changed:
            said = "; ".join(f"{name}: {old} -> {new}" for name, (old, new) in changed.items())
            differing |= dict.fromkeys(record["scans"], said)
        else:
            processed |= set(record["scans"])
    scans = manifest.scans
    rows = zip(scans["scan_id"], scans["patient_id"], scans["label"], strict=True)
    missing = {
        str(scan_id): str(patient_id)
        for scan_id, patient_id, label in rows
        if scan_id not in processed
        and why_unused(label if isinstance(label, str) else None, call.config.labels) is None
    }
    if not missing:
        return
    patients = sorted(set(missing.values()))
    settings = sorted({differing[scan_id] for scan_id in missing if scan_id in differing})
    raise RunFolderError(
        f"{counted(len(patients), 'participant')} not processed"
        + (" with these settings (processed -> requested)" if settings else ""),
        where=str(call.work),
        found="\n  - ".join(["", *settings[:5]]).strip() if settings else None,
        remedy=f"Run the participant level with these settings and --work-dir: {listed(patients)}",
    )
