"""What the user is told of a folder of DICOM files; series and patients by their hashes alone."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from mri_transfer.cohorts.readers.dicom.files import DicomFolder
from mri_transfer.cohorts.readers.dicom.images import ImageFolder, StoredImage
from mri_transfer.cohorts.readers.dicom.privacy import MAX_AGE_YEARS, age_years
from mri_transfer.cohorts.readers.dicom.series import DicomSeries
from mri_transfer.cohorts.words import counted, listed

__all__ = ["Outcome", "left_out", "patient_notes", "series_names", "series_notes", "table_notes"]

_SHOWN = 50


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """What became of the series.

    Parameters
    ----------
    images : list of (DicomSeries, StoredImage)
        Those that are scans now.
    kinds : dict
        Kind of series that is no T1, to the hashes of the series.
    broken : dict
        Fault of T1 series that cannot be used, to the hashes of the series.
    """

    images: list[tuple[DicomSeries, StoredImage]] = dataclasses.field(default_factory=list)
    kinds: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    broken: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def left_out(folder: DicomFolder) -> list[str]:
    """Return how many files belong to no series, and why."""
    return [f"{reason}: {number}" for reason, number in sorted(folder.left_out.items())]


def series_names(names: Sequence[str]) -> str:
    """Return hashes for a message, each once."""
    return listed(list(dict.fromkeys(names)), shown=_SHOWN)


def series_notes(folder: DicomFolder, outcome: Outcome) -> Iterator[str]:
    """Say what became of every series and file."""
    n_new = sum(image.is_new for _, image in outcome.images)
    yield (
        f"T1 series used: {len(outcome.images)}, of which {n_new} were converted now and the "
        "others before. The images still show the faces: treat them as personal data."
    )
    for fault, names in sorted(outcome.broken.items()):
        yield f"T1 series left out, {fault}: {series_names(names)}."
    for kind, names in sorted(outcome.kinds.items()):
        yield f"Series left out, {kind}: {series_names(names)}."
    if folder.left_out:
        yield f"Files that belong to no series: {'; '.join(left_out(folder))}."


def patient_notes(
    series: Sequence[DicomSeries], outcome: Outcome, store: ImageFolder
) -> Iterator[str]:
    """Say what is odd about the patients."""
    used = {image.patient_id for _, image in outcome.images}
    unused = sorted({store.patient_of(one) for one in series} - used)
    if unused:
        yield f"Patients without a T1 series that can be used: {series_names(unused)}."
    sessions = Counter(image.session_id for _, image in outcome.images)
    several = sum(number > 1 for number in sessions.values())
    if several:
        yield f"{counted(several, 'session')} with several T1 series: each is a scan of its own."
    anonymous = {
        image.patient_id for one, image in outcome.images if not one.identity.known_patient
    }
    if anonymous:
        yield (
            "Patients without an id, told apart by name and date of birth or, without these, by "
            f"study: {series_names(sorted(anonymous))}."
        )
    torn = _with_two_identities(outcome)
    if torn:
        yield (
            "Patients with two dates of birth or two sexes, perhaps two people under one id: "
            f"{series_names(torn)}."
        )
    old = sum(age_years(one.identity) == MAX_AGE_YEARS + 1 for one, _ in outcome.images)
    if old:
        capped = f"Ages above {MAX_AGE_YEARS} are given as {MAX_AGE_YEARS + 1}"
        yield f"{capped}: {counted(old, 'scan')}."


def _with_two_identities(outcome: Outcome) -> list[str]:
    facts: dict[str, set[tuple[str, str | None]]] = {}
    for one, image in outcome.images:
        known = {("birth", one.identity.birth_date or None), ("sex", one.identity.sex)}
        facts.setdefault(image.patient_id, set()).update(fact for fact in known if fact[1])
    return [
        patient_id
        for patient_id, known in facts.items()
        if len(known) > len({name for name, _ in known})
    ]


def table_notes(series: Sequence[DicomSeries], labels: Mapping[str, str | None]) -> Iterator[str]:
    """Say how many patients of the table of labels are not in the folder."""
    present = {one.identity.patient_id for one in series}
    absent = sum(patient_id not in present for patient_id in labels)
    if absent:
        yield f"{counted(absent, 'patient')} of the table of labels not in the folder."
