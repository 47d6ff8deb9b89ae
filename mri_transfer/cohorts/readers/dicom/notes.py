"""Notes on a folder of DICOM files; series and patients appear only as hashes."""

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
    """The outcome for each series.

    Parameters
    ----------
    images : list of (DicomSeries, StoredImage)
        Converted series.
    kinds : dict
        Hashes of series that are not T1, by kind of series.
    broken : dict
        Hashes of T1 series that cannot be used, by fault.
    """

    images: list[tuple[DicomSeries, StoredImage]] = dataclasses.field(default_factory=list)
    kinds: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    broken: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def left_out(folder: DicomFolder) -> list[str]:
    """Return the number of files that belong to no series, by reason."""
    return [f"{reason}: {number}" for reason, number in sorted(folder.left_out.items())]


def series_names(names: Sequence[str]) -> str:
    """Return the distinct hashes for a message."""
    return listed(list(dict.fromkeys(names)), shown=_SHOWN)


def series_notes(folder: DicomFolder, outcome: Outcome) -> Iterator[str]:
    """Yield notes on the outcome for every series and file."""
    n_new = sum(image.is_new for _, image in outcome.images)
    yield (
        f"T1 series used: {len(outcome.images)}, {n_new} of them newly converted. The images "
        "still show faces: treat them as personal data."
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
    """Yield notes on anomalies of the patients."""
    used = {image.patient_id for _, image in outcome.images}
    unused = sorted({store.patient_of(candidate) for candidate in series} - used)
    if unused:
        yield f"Patients without a usable T1 series: {series_names(unused)}."
    sessions = Counter(image.session_id for _, image in outcome.images)
    several = sum(number > 1 for number in sessions.values())
    if several:
        yield f"{counted(several, 'session')} with several T1 series: each is a separate scan."
    anonymous = {
        image.patient_id for used, image in outcome.images if not used.identity.known_patient
    }
    if anonymous:
        yield (
            "Patients without an id, identified by name and date of birth or, without these, by "
            f"study: {series_names(sorted(anonymous))}."
        )
    torn = _with_two_identities(outcome)
    if torn:
        yield (
            "Patients with two dates of birth or two sexes, perhaps two people with one id: "
            f"{series_names(torn)}."
        )
    old = sum(age_years(used.identity) == MAX_AGE_YEARS + 1 for used, _ in outcome.images)
    if old:
        capped = f"Ages above {MAX_AGE_YEARS} are recorded as {MAX_AGE_YEARS + 1}"
        yield f"{capped}: {counted(old, 'scan')}."


def _with_two_identities(outcome: Outcome) -> list[str]:
    identities: dict[str, set[tuple[str, str | None]]] = {}
    for series, image in outcome.images:
        known = {("birth", series.identity.birth_date or None), ("sex", series.identity.sex)}
        identities.setdefault(image.patient_id, set()).update(item for item in known if item[1])
    return [
        patient_id
        for patient_id, known in identities.items()
        if len(known) > len({name for name, _ in known})
    ]


def table_notes(series: Sequence[DicomSeries], labels: Mapping[str, str | None]) -> Iterator[str]:
    """Yield a note on the number of patients in the label table that are not in the folder."""
    present = {candidate.identity.patient_id for candidate in series}
    absent = sum(patient_id not in present for patient_id in labels)
    if absent:
        yield f"{counted(absent, 'patient')} in the label table but not in the folder."
