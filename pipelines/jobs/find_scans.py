"""The scans that `predict` is asked to score: files, folders, BIDS data sets; each with a name."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from mri_transfer.bundle import ScanRequest
from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.errors import ConfigurationError
from mri_transfer.scans.nifti_file import scan_name

__all__ = ["find_scans"]

_SUFFIXES = (".nii", ".nii.gz")
_BIDS_PATIENT = re.compile(r"(sub-[A-Za-z0-9]+)_")
#: Where BIDS puts anatomical images; a folder without any of these is no BIDS data set.
_BIDS_PLACES = ("sub-*/anat", "sub-*/ses-*/anat")
#: Of a manifest: what is told of a scan, and is no covariate.
_COVARIATES = ("age", "sex", "site")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundScans:
    """The scans to score, and what the user should know about how they were found."""

    requests: tuple[ScanRequest, ...]
    notes: tuple[str, ...] = ()


def find_scans(
    sources: Sequence[Path],
    *,
    age_years: float | None = None,
    sex: str | None = None,
    force: bool = False,
    pad_ids: bool = False,
) -> FoundScans:
    """Find the scans to score.

    Parameters
    ----------
    sources : sequence of Path
        Files; BIDS data sets, whose participants.tsv tells age, sex and site; other folders, in
        which every NIfTI file is a scan.
    age_years : float, optional
    sex : str, optional
        Of every patient; otherwise what the tables say.
    force : bool
        As in `ScanRequest`.
    pad_ids : bool
        As in `read_bids_cohort`.

    Returns
    -------
    FoundScans
        Every file once. A scan is called by its file's name; of several files with one name each
        has the folder in front that tells it from the others, ``P01_T1`` and ``P02_T1``.

    Raises
    ------
    ConfigurationError
        If a folder holds no scan.
    """
    notes: list[str] = []
    found: dict[str, ScanRequest] = {}
    for source in sources:
        for one in _scans_of(source, notes, pad_ids=pad_ids):
            found.setdefault(os.path.abspath(one.path), one)
    requests = (
        dataclasses.replace(
            one,
            age_years=one.age_years if age_years is None else age_years,
            sex=one.sex if sex is None else sex,
            force=force,
        )
        for one in _told_apart(list(found.values()))
    )
    return FoundScans(requests=tuple(requests), notes=tuple(notes))


def _scans_of(source: Path, notes: list[str], *, pad_ids: bool) -> Iterator[ScanRequest]:
    if not source.is_dir():
        # One that is not there is found out, and listed, when its turn comes.
        yield _of_file(source)
        return
    if any(path.is_dir() for place in _BIDS_PLACES for path in source.glob(place)):
        yield from _of_bids(source, notes, pad_ids=pad_ids)
        return
    files = [path for path in sorted(source.rglob("*")) if _is_scan(path, source)]
    if not files:
        raise ConfigurationError(
            "no scan in the folder",
            where=str(source),
            expected="files ending in .nii or .nii.gz, in it or in folders below; or a BIDS data "
            "set, with images in sub-X/anat or sub-X/ses-Y/anat",
        )
    yield from map(_of_file, files)


def _is_scan(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
    return path.name.endswith(_SUFFIXES) and not hidden and path.is_file()


def _of_file(path: Path) -> ScanRequest:
    return _named(ScanRequest(path=path, scan_id=""), scan_name(path))


def _named(request: ScanRequest, name: str) -> ScanRequest:
    """Return the request under a name; the name tells the patient if nothing else does."""
    known = request.patient_id not in (None, request.scan_id)
    patient = _BIDS_PATIENT.match(name)
    told = name if patient is None else patient[1]
    return dataclasses.replace(
        request, scan_id=name, patient_id=request.patient_id if known else told
    )


def _of_bids(source: Path, notes: list[str], *, pad_ids: bool) -> Iterator[ScanRequest]:
    reading = read_bids_cohort(source, pad_ids=pad_ids, labelled=False)
    notes += (f"{source}: {note}" for note in reading.notes if "left out" in note)
    for scan in reading.manifest.scans.to_dict("records"):
        told = {
            name: scan[name] for name in _COVARIATES if name in scan and not pd.isna(scan[name])
        }
        age = told.get("age")
        yield ScanRequest(
            path=Path(scan["path"]),
            scan_id=scan["scan_id"],
            patient_id=scan["patient_id"],
            age_years=None if age is None else float(age),
            sex=told.get("sex"),
            covariates=told if "site" in told else None,
        )


def _told_apart(requests: Sequence[ScanRequest]) -> list[ScanRequest]:
    """Give scans that share a name the folder in front that tells them apart."""
    groups: dict[str, list[int]] = {}
    for at, request in enumerate(requests):
        groups.setdefault(request.scan_id, []).append(at)
    named = list(requests)
    for group in groups.values():
        if len(group) > 1:
            names = _distinct_names([requests[at] for at in group])
            for at, name in zip(group, names, strict=True):
                named[at] = _named(requests[at], name)
    # What was made up may be another scan's own name.
    taken: collections.Counter[str] = collections.Counter(one.scan_id for one in named)
    for at, request in enumerate(named):
        if taken[request.scan_id] > 1:
            again = (f"{request.scan_id}~{number}" for number in itertools.count(1))
            name = next(name for name in again if name not in taken)
            taken[name] += 1
            named[at] = _named(request, name)
    return named


def _distinct_names(group: Sequence[ScanRequest]) -> list[str]:
    """Return each scan's name behind the nearest folder, or folders, in which all differ."""
    paths = [Path(os.path.abspath(one.path)) for one in group]
    if len({path.parent for path in paths}) == 1:
        return [path.name for path in paths]
    folders = [list(reversed(path.parts[1:-1])) for path in paths]
    levels = list(itertools.zip_longest(*folders, fillvalue=""))
    telling = [level for level in levels if len(set(level)) > 1]
    one_level = next((level for level in telling if len(set(level)) == len(group)), None)
    chosen = [one_level] if one_level is not None else list(reversed(telling))
    return [
        "_".join([*filter(None, (level[at] for level in chosen)), one.scan_id])
        for at, one in enumerate(group)
    ]
