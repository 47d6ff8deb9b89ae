"""prepare: every scan into the template's space, and how far each is to be trusted."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from mri_transfer.cohorts.exclusions import Exclusion, read_exclusions, write_exclusions
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import atomic_write_text
from mri_transfer.errors import NoUsableScanError
from mri_transfer.scans.preparation import (
    PreparedStore,
    bids_stem,
    write_derivative,
    write_description,
)
from mri_transfer.scans.preparation.external import PROGRAMS, demand_program
from mri_transfer.scans.quality import (
    ScanQuality,
    ScoredScan,
    ScoreStore,
    judge_cohort,
    quality_table,
    score_key,
)
from mri_transfer.version import __version__
from pipelines.stage import Context, StageResult
from pipelines.stages.duplicates import across_patients, one_id_two_people, write_duplicates
from pipelines.stages.prepare_worker import (
    Job,
    Outcome,
    broken_off,
    found_in_cache,
    prepare_batch,
)
from pipelines.stages.quality_pages import write_quality_pages

__all__ = ["work"]

Scan = dict[Hashable, Any]

_INDEX_COLUMNS = ["scan_id", "patient_id", "scan_sha256", "key", "volume_key", "path"]


def _prepare(context: Context, scans: Sequence[Scan]) -> tuple[list[Outcome], int]:
    """Return the outcome of each scan, and how many were not in the cache."""
    config = context.config
    if config.preparation.brain_extraction in PROGRAMS:
        demand_program(config.preparation.brain_extraction)
    jobs = [
        Job(
            scan_id=scan["scan_id"],
            path=scan["path"],
            cache=context.workspace.cache.absolute(),
            volumes=config.volumes,
            preparation=config.preparation,
            slices=config.slices,
        )
        for scan in scans
    ]
    known = [found_in_cache(job) for job in jobs]
    missing = [job for job, outcome in zip(jobs, known, strict=True) if outcome is None]
    made = context.executor().map(
        prepare_batch, missing, lost=broken_off, reads=operator.attrgetter("path")
    )
    new = iter(list(context.reporter.track(made, total=len(missing), what="preparing scans")))
    return [next(new) if outcome is None else outcome for outcome in known], len(missing)


def _judged(
    context: Context, scans: Sequence[Scan], outcomes: Sequence[Outcome]
) -> list[ScanQuality]:
    workspace, spec = context.workspace, context.config.quality
    unknown = sorted(set(spec.keep) - {scan["scan_id"] for scan in scans})
    if unknown:
        context.reporter.note(f"to keep, but not among the readable scans: {', '.join(unknown)}")
    prepared, scores = PreparedStore(workspace.cache), ScoreStore(workspace.cache)
    scored = [
        ScoredScan(
            scan_id=scan["scan_id"],
            patient_id=scan["patient_id"],
            passed_through=bool(prepared.facts(outcome.key)["passed_through"]),
            scores=scores.get(score_key(outcome.key)),
        )
        for scan, outcome in zip(scans, outcomes, strict=True)
        if not outcome.reason
    ]
    return judge_cohort(scored, spec)


def _quality_exclusions(qualities: Sequence[ScanQuality]) -> list[Exclusion]:
    return [
        Exclusion(
            scan_id=quality.scan_id,
            patient_id=quality.patient_id,
            stage="prepare",
            reason=f"quality: {'; '.join(quality.reasons)}. Look at it in quality/index.html; "
            f"--keep {quality.scan_id} uses it all the same.",
        )
        for quality in qualities
        if quality.verdict == "fail" and not quality.kept
    ]


def _index_rows(
    context: Context, scans: Sequence[Scan], outcomes: Sequence[Outcome], used: set[str]
) -> list[dict[str, str]]:
    store = PreparedStore(context.workspace.cache)
    rows = []
    for scan, outcome in zip(scans, outcomes, strict=True):
        if scan["scan_id"] not in used:
            continue
        as_it_came = bool(store.facts(outcome.key)["passed_through"])
        rows.append(
            {
                "scan_id": scan["scan_id"],
                "patient_id": scan["patient_id"],
                "scan_sha256": outcome.scan_sha256,
                "key": outcome.key,
                # What passed through is the file itself, whatever the settings of preparation.
                "volume_key": outcome.scan_sha256 if as_it_came else outcome.key,
                "path": scan["path"] if as_it_came else "",
            }
        )
    return rows


def _write_derivatives(
    context: Context, rows: Sequence[dict[str, str]], scans: Sequence[Scan]
) -> None:
    """Write the scans that did not pass through as a BIDS data set."""
    workspace = context.workspace
    by_id = {scan["scan_id"]: scan for scan in scans}
    prepared = [row for row in rows if not row["path"]]
    if not prepared:
        return
    write_description(workspace.derivatives, version=__version__)
    store = PreparedStore(workspace.cache)
    for row in prepared:
        scan = by_id[row["scan_id"]]
        write_derivative(
            workspace.derivatives,
            store,
            row["key"],
            stem=bids_stem(
                scan_id=scan["scan_id"],
                patient_id=scan["patient_id"],
                session_id=scan["session_id"] if isinstance(scan["session_id"], str) else None,
            ),
            source=scan["path"],
            scan_sha256=row["scan_sha256"],
        )


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace = context.workspace
    manifest = read_manifest(workspace.source_manifest)
    refused = read_exclusions(workspace.refused)
    gone = {exclusion.scan_id for exclusion in refused}
    scans = [scan for scan in manifest.scans.to_dict("records") if scan["scan_id"] not in gone]
    outcomes, computed = _prepare(context, scans)
    unprepared = [
        Exclusion(
            scan_id=scan["scan_id"],
            patient_id=scan["patient_id"],
            stage="prepare",
            reason=outcome.reason,
        )
        for scan, outcome in zip(scans, outcomes, strict=True)
        if outcome.reason
    ]
    qualities = _judged(context, scans, outcomes)
    excluded = [*refused, *unprepared, *_quality_exclusions(qualities)]
    names = {exclusion.scan_id for exclusion in excluded}
    used = [scan["scan_id"] for scan in scans if scan["scan_id"] not in names]
    table = quality_table(qualities)
    atomic_write_text(workspace.quality, table.to_csv(index=False, lineterminator="\n"))
    write_exclusions(workspace.excluded, excluded)
    write_quality_pages(
        workspace.quality_pages,
        qualities,
        cache=workspace.cache,
        keys={scan["scan_id"]: o.key for scan, o in zip(scans, outcomes, strict=True)},
        paths={scan["scan_id"]: scan["path"] for scan in scans},
    )
    rows = _index_rows(context, scans, outcomes, set(used))
    pairs = write_duplicates(
        workspace,
        keys={row["scan_id"]: row["key"] for row in rows},
        patients={row["scan_id"]: row["patient_id"] for row in rows},
        spec=context.config.duplicates,
    )
    for warning in (across_patients(pairs), one_id_two_people(pairs)):
        if warning is not None:
            context.reporter.note(warning)
    atomic_write_text(
        workspace.prepared,
        pd.DataFrame(rows, columns=_INDEX_COLUMNS).to_csv(index=False, lineterminator="\n"),
    )
    _write_derivatives(context, rows, scans)
    if not used:
        raise NoUsableScanError(str(workspace.source_manifest), workspace.excluded)
    manifest.keep(used).write(workspace.manifest)
    return StageResult(
        outputs=[
            workspace.manifest,
            workspace.excluded,
            workspace.prepared,
            workspace.quality,
            workspace.duplicates,
        ],
        summary=_summary(rows, qualities, len(excluded)),
        exclusions=len(excluded),
        unsettled={
            scan["path"]: outcome.unsettled
            for scan, outcome in zip(scans, outcomes, strict=True)
            if outcome.unsettled is not None
        },
        computed=computed,
    )


def _summary(
    rows: Sequence[dict[str, str]], qualities: Sequence[ScanQuality], n_excluded: int
) -> str:
    passed = sum(bool(row["path"]) for row in rows)
    warned = sum(quality.verdict == "warn" for quality in qualities)
    kept = [quality.scan_id for quality in qualities if quality.kept]
    parts = [
        f"{len(rows)} scans to use: {len(rows) - passed} prepared, {passed} ready as they came",
        f"{warned} with warnings",
        f"{n_excluded} excluded",
    ]
    if kept:
        parts.append(f"kept although they fail: {', '.join(kept)}")
    return "; ".join(parts)
