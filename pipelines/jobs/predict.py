"""predict: new scans through a bundle; per scan a JSON file and a page, and one table of all."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mri_transfer.bundle import ModelBundle, Runtime, ScanRequest, infer_scan, load_bundle
from mri_transfer.core.files import atomic_write_bytes, atomic_write_text, write_json
from mri_transfer.core.machine import raise_machine_fault
from mri_transfer.errors import HeadError, MriTransferError, ScanError
from mri_transfer.report.blocks.page_names import page_name
from mri_transfer.report.figures import Orientation
from mri_transfer.report.pages.prediction_page import (
    PREDICTION_COLUMNS,
    prediction_lines,
    prediction_pdf,
    prediction_row,
)
from pipelines.pool import run_jobs
from pipelines.stage import Reporter
from pipelines.workspace import default_cache

__all__ = [
    "BundlePlace",
    "Job",
    "Outcome",
    "bundle_place",
    "predict_scans",
]

_TABLE = "predictions.csv"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundlePlace:
    """A bundle, and where its trunk is found."""

    path: Path
    trusted_key: str | None = None
    allow_programs: bool = False
    weights: Path | None = None
    cache: Path | None = None

    def load(self) -> ModelBundle:
        """Open the bundle."""
        runtime = Runtime(
            weights=self.weights, cache=self.cache, allow_programs=self.allow_programs
        )
        return load_bundle(self.path, trusted_key=self.trusted_key, runtime=runtime)


def bundle_place(
    path: Path,
    *,
    trusted_key: str | None,
    allow_programs: bool,
    weights: Path | None,
    cache: Path | None,
) -> BundlePlace:
    """Return where a bundle lies; converted weights lie in `cache`, or in the user's."""
    return BundlePlace(
        path=path,
        trusted_key=trusted_key,
        allow_programs=allow_programs,
        weights=weights,
        cache=(cache or default_cache()) / "weights",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """One scan to score, and where what is said of it goes."""

    bundle: BundlePlace
    request: ScanRequest
    stem: Path
    orientation: Orientation = "neurological"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a scan; plain strings, because it travels between processes."""

    scan_id: str
    row: Mapping[str, str]
    lines: tuple[str, ...]

    @property
    def is_predicted(self) -> bool:
        """Whether there is a number, and nothing speaks against it."""
        return self.row["status"] == "predicted"


@functools.lru_cache(maxsize=1)
def _opened(place: BundlePlace) -> ModelBundle:
    return place.load()


def predict_one(job: Job) -> Outcome:
    """Score a scan and write what is said of it.

    Never raises for a fault of the scan: the outcome tells it. Faults that every scan would meet
    (the machine's, the bundle's, missing weights) are raised.
    """
    bundle = _opened(job.bundle)
    try:
        inference = infer_scan(bundle, job.request)
    except (ScanError, HeadError) as error:
        raise_machine_fault(error)
        return _failed(job, str(error))
    prediction = inference.prediction
    document = {**prediction.as_dict(), "path": str(job.request.path)}
    write_json(job.stem.with_name(f"{job.stem.name}.json"), document)
    page = prediction_pdf(inference, bundle, orientation=job.orientation)
    atomic_write_bytes(job.stem.with_name(f"{job.stem.name}.pdf"), page)
    return Outcome(
        scan_id=prediction.scan_id,
        row={**prediction_row(prediction), "path": str(job.request.path)},
        lines=tuple(prediction_lines(prediction)),
    )


def _failed(job: Job, reason: str) -> Outcome:
    """Return the outcome of a scan that could not be looked at, and leave no older page behind."""
    for suffix in (".json", ".pdf"):
        job.stem.with_name(job.stem.name + suffix).unlink(missing_ok=True)
    said: dict[str, Any] = dict.fromkeys(PREDICTION_COLUMNS, "")
    said |= {
        "scan_id": job.request.scan_id,
        "patient_id": job.request.patient_id or "",
        "path": str(job.request.path),
        "status": "failed",
        "reasons": reason,
    }
    return Outcome(
        scan_id=job.request.scan_id,
        row=said,
        lines=(f"{job.request.scan_id}: cannot be used", f"  {reason}"),
    )


def predict_scans(
    place: BundlePlace,
    requests: Sequence[ScanRequest],
    out: Path,
    *,
    reporter: Reporter,
    jobs: int = 1,
    orientation: Orientation = "neurological",
) -> list[Outcome]:
    """Score scans one after the other, or several at a time; write OUT/predictions.csv.

    Parameters
    ----------
    place : BundlePlace
    requests : sequence of ScanRequest
    out : Path
        Folder of the results; made if missing.
    reporter : Reporter
    jobs : int
        Scans at a time. With one, all are scored in this process.
    orientation : {"neurological", "radiological"}
        How the PDF shows slices.
    """
    bundle = _opened(place)
    todo = [
        Job(bundle=place, request=request, stem=out / name, orientation=orientation)
        for request, name in zip(requests, _names(requests), strict=True)
    ]
    made: Iterator[Outcome] = map(_guarded, todo)
    if jobs > 1 and len(todo) > 1:
        made = run_jobs(
            predict_one,
            todo,
            processes=jobs,
            timeout_s=bundle.config.preparation.timeout_s,
            failed=_failed,
        )
    outcomes = list(reporter.track(made, total=len(todo), what="scoring scans"))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, PREDICTION_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(outcome.row for outcome in outcomes)
    atomic_write_text(out / _TABLE, stream.getvalue())
    return outcomes


def _guarded(job: Job) -> Outcome:
    """Score a scan. An unexpected error fails this scan only; a fault of the machine stops all."""
    try:
        return predict_one(job)
    except (MriTransferError, OSError):
        raise
    except Exception as error:
        raise_machine_fault(error)
        return _failed(job, f"it failed unexpectedly ({type(error).__name__}: {error}).")


def _names(requests: Sequence[ScanRequest]) -> list[str]:
    """Return a safe file name for each scan, none twice even where names ignore case."""
    taken: set[str] = {Path(_TABLE).stem}
    names: list[str] = []
    for request in requests:
        name = request.scan_id
        if not _SAFE.fullmatch(name):
            name = page_name(name).removesuffix(".html")
        again = (f"{name}~{number}" for number in itertools.count(2))
        unique = next(one for one in itertools.chain([name], again) if one.lower() not in taken)
        taken.add(unique.lower())
        names.append(unique)
    return names
