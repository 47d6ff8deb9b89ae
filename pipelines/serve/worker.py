"""Score one scan in a separate process, which can be stopped if it takes too long."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mri_transfer.bundle import ModelBundle
from mri_transfer.core.files import sha256_of_file
from mri_transfer.errors import MachineError, MriTransferError, ScanError, StoreError
from mri_transfer.scans.volumes import check_header
from pipelines.jobs.predict import BundlePlace
from pipelines.serve.faults import Refusal, refusal_of

__all__ = ["ScanJob", "predict_upload", "warm_up"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanJob:
    """One upload to score."""

    place: BundlePlace
    digest: str
    """Digest of the bundle at the start of the service: no other one is used."""
    path: Path
    scan_id: str
    sha256: str
    """SHA-256 of the received upload."""
    max_unpacked_megabytes: int
    age_years: float | None = None
    sex: str | None = None
    force: bool = False


@functools.lru_cache(maxsize=1)
def _opened(place: BundlePlace, digest: str) -> ModelBundle:
    bundle = place.load()
    if bundle.digest != digest:
        raise StoreError(
            "the bundle has changed since the service started",
            where=str(place.path),
            found=bundle.digest,
            expected=digest,
            remedy="Restart the service",
        )
    # Load the trunk now, outside the first scan's time limit.
    _ = bundle.trunk
    return bundle


def warm_up(place: BundlePlace, digest: str) -> str:
    """Open the bundle and its trunk; return the error message, or an empty string."""
    try:
        _opened(place, digest)
    except MriTransferError as error:
        return str(error)
    return ""


def predict_upload(job: ScanJob) -> Mapping[str, Any] | Refusal:
    """Score an upload with `ModelBundle.predict`.

    Faults of the scan are returned as a refusal, not raised.
    """
    where = f"scan {job.scan_id}"
    try:
        bundle = _opened(job.place, job.digest)
        if sha256_of_file(job.path) != job.sha256:
            return Refusal(status=500, what="the upload changed on the server", where=where)
        accepted = bundle.config.volumes
        limit = min(accepted.max_megabytes, job.max_unpacked_megabytes)
        check_header(
            job.path,
            scan_id=job.scan_id,
            spec=dataclasses.replace(accepted, max_megabytes=limit),
        )
        prediction = bundle.predict(
            job.path,
            scan_id=job.scan_id,
            age_years=job.age_years,
            sex=job.sex,
            force=job.force,
        )
    except ScanError as error:
        return refusal_of(error, status=422, where=where, hidden=str(job.path))
    except MachineError as error:
        return refusal_of(error, status=503, where=where, hidden=str(job.path))
    except MriTransferError as error:
        return refusal_of(error, status=500, where=where, hidden=str(job.path))
    return prediction.as_dict()
