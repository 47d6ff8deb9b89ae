"""Preparing one scan in a process of its own: volume, scores and pictures into the cache.

A process can be killed when it takes too long, and what it dies of stops nobody else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from mri_transfer.core.files import content_sha256, sha256_of_file
from mri_transfer.core.machine import raise_machine_fault
from mri_transfer.errors import ScanError, StoreError
from mri_transfer.report.figures import PictureStore, picture_key, qc_pictures
from mri_transfer.scans.nifti_file import scan_faults, scan_place
from mri_transfer.scans.preparation import (
    PreparationSpec,
    PreparedScan,
    PreparedStore,
    prepare_scan,
    prepared_key,
)
from mri_transfer.scans.preparation.fingerprint import fingerprint, voxel_sha256
from mri_transfer.scans.preparation.identity import IdentityStore, Recognition, identity_key
from mri_transfer.scans.preparation.template import image_of_volume, load_template
from mri_transfer.scans.quality import ScoreStore, measure_scan, score_key
from mri_transfer.scans.slices import SliceSpec, SliceStore, plan_slices, slices_key
from mri_transfer.scans.volumes import Volume, VolumeSpec, load_volume
from pipelines.pool import default_jobs, run_jobs
from pipelines.unsettled import AGAIN, refused_state

__all__ = ["Job", "Outcome", "broken_off", "found_in_cache", "prepare_batch", "prepare_one"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One scan to prepare, and with what."""

    scan_id: str
    path: str
    cache: Path
    volumes: VolumeSpec
    preparation: PreparationSpec
    slices: SliceSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a scan; plain strings, because it travels between processes."""

    scan_sha256: str = ""
    key: str = ""
    reason: str = ""
    """Why the scan cannot be used; empty if it can."""
    unsettled: str | None = None
    """The state of a refused scan's file, if a later run may take the refusal back."""


def found_in_cache(job: Job) -> Outcome | None:
    """Return the outcome of a scan of which the cache holds everything, slices included."""
    try:
        sha256 = sha256_of_file(job.path)
    except OSError:
        return None
    key = prepared_key(scan_sha256=sha256, spec=job.preparation)
    prepared = PreparedStore(job.cache)
    if key not in prepared or not _has_extras(job, key):
        return None
    as_it_came = bool(prepared.facts(key)["passed_through"])
    volume_key = sha256 if as_it_came else key
    if slices_key(volume_key=volume_key, spec=job.slices) not in SliceStore(job.cache):
        return None
    return Outcome(scan_sha256=sha256, key=key)


def _has_extras(job: Job, key: str) -> bool:
    return (
        score_key(key) in ScoreStore(job.cache)
        and picture_key(key) in PictureStore(job.cache)
        and identity_key(key) in IdentityStore(job.cache)
    )


def prepare_batch(jobs: Sequence[Job], cores: int | None) -> Iterator[Outcome]:
    """Prepare scans in processes of their own; yield the outcomes in order.

    Parameters
    ----------
    jobs : sequence of Job
        Of one run.
    cores : int, optional
        Scans prepared in parallel; None: as cores and memory allow.
    """
    if jobs:
        yield from run_jobs(
            prepare_one,
            jobs,
            processes=cores or default_jobs(),
            timeout_s=jobs[0].preparation.timeout_s,
            failed=broken_off,
        )


def broken_off(job: Job, reason: str) -> Outcome:
    """Return the outcome of a scan that was not done with: the next run tries it again."""
    return Outcome(
        reason=f"scan {job.scan_id} ({job.path}): {reason} The next run tries it again.",
        unsettled=AGAIN,
    )


def prepare_one(job: Job) -> Outcome:
    """Prepare and score a scan, unless the cache holds all of it.

    Never raises for a fault of the scan: the outcome tells it. The machine's are raised.
    """
    try:
        with scan_faults(scan_place(job.scan_id, Path(job.path))):
            sha256 = sha256_of_file(job.path)
        key = prepared_key(scan_sha256=sha256, spec=job.preparation)
        _fill_cache(job, key)
    except ScanError as error:
        raise_machine_fault(error)
        return Outcome(reason=str(error), unsettled=refused_state(error, job.path))
    return Outcome(scan_sha256=sha256, key=key)


def _fill_cache(job: Job, key: str) -> None:
    prepared_store, score_store = PreparedStore(job.cache), ScoreStore(job.cache)
    raw = load_volume(job.path, scan_id=job.scan_id, spec=job.volumes)
    try:
        prepared = prepared_store.get(key, raw) if key in prepared_store else None
    except (ScanError, StoreError):
        prepared = None
    if prepared is None:
        prepared = prepare_scan(raw, job.preparation)
        prepared_store.put(key, prepared)
    if score_key(key) not in score_store:
        score_store.put(score_key(key), measure_scan(raw, prepared))
    identities = IdentityStore(job.cache)
    if identity_key(key) not in identities:
        identities.put(identity_key(key), _recognition(job, raw, prepared))
    pictures = PictureStore(job.cache)
    if picture_key(key) not in pictures:
        brain = load_template().mask_on(image_of_volume(prepared.volume))
        drawn = qc_pictures(raw, prepared.volume, prepared.mask, brain)
        pictures.put(picture_key(key), drawn)
    # Raises if the scan does not offer the slices that are asked for.
    plan_slices(prepared.volume, job.slices)


def _recognition(job: Job, raw: Volume, prepared: PreparedScan) -> Recognition:
    registered = prepared.alignment is not None
    return Recognition(
        content_sha256=content_sha256(job.path),
        voxel_sha256=voxel_sha256(raw),
        fingerprint=fingerprint(
            prepared.volume,
            prepared.mask,
            registered=registered,
            turn=None if registered else prepared.turn,
        ),
    )
