"""Reader of DICOM series: converts the T1 scans and names them by hashes.

A DICOM header identifies the patient. None of that leaves this reader: the manifest, notes,
messages and images contain salted hashes of patient, study, series and institution (see
`privacy`), age in whole years (at most 89, higher ages as 90), sex and a few technical fields, but
no free text, dates, names, ids or paths of the DICOM files. `rule` defines which series are T1.
The images themselves still show the surface of the head, and thus the face.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mri_transfer.cohorts.manifest.manifest import BASE_COLUMNS, make_manifest
from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.cohorts.readers.bids.sidecars import scanner_name
from mri_transfer.cohorts.readers.dicom.files import DicomFolder, read_dicom_folder
from mri_transfer.cohorts.readers.dicom.images import ImageFolder, StoredImage
from mri_transfer.cohorts.readers.dicom.labels import read_patient_labels
from mri_transfer.cohorts.readers.dicom.notes import (
    Outcome,
    left_out,
    patient_notes,
    series_names,
    series_notes,
    table_notes,
)
from mri_transfer.cohorts.readers.dicom.privacy import Pseudonyms, age_years, file_salt
from mri_transfer.cohorts.readers.dicom.rule import T1, T1Spec, kind_of_series
from mri_transfer.cohorts.readers.dicom.series import DicomSeries, stack_fault
from mri_transfer.cohorts.readers.reading import CohortReading, label_notes
from mri_transfer.cohorts.words import counted
from mri_transfer.errors import ConfigurationError, Fault, ManifestError, ScanError

__all__ = ["read_dicom_cohort"]

#: Messages do not repeat the source's path: exports are often named after their patient.
_WHERE = "the DICOM folder"


def read_dicom_cohort(
    source: str | Path,
    *,
    images: str | Path | None = None,
    salt: str | None = None,
    labels_table: str | Path | None = None,
    series: str | None = None,
    t1: T1Spec | None = None,
    timeout_s: float = 600.0,
    pad_ids: bool = False,
) -> CohortReading:
    """Convert the T1 series of a folder of DICOM files with dcm2niix and list them.

    Parameters
    ----------
    source : str or Path
        Folder with DICOM files in any layout and with any names; other files are ignored.
    images : str or Path
        Folder for the converted images, with a BIDS layout. Current images are reused. Neither
        folder may be inside the other.
    salt : str, optional
        Secret of at least 16 characters; the same salt gives the same ids. By default one is
        generated and stored next to the image folder, in a file with its name and ``.salt``,
        readable by the owner only.
    labels_table : str or Path, optional
        Table with the columns patient_id, as in the headers, and label. Without it all labels are
        missing.
    series : str, optional
        Regular expression searched for in SeriesDescription, ignoring case: the matching series
        are used as T1, and no others. By default the rule in `rule` decides.
    t1 : T1Spec, optional
        The limits of that rule.
    timeout_s : float
        Time limit for the conversion of one series, in seconds.
    pad_ids : bool
        Match patients of the label table to the headers if their ids differ only in leading zeros
        or case; by default such ids are a fault.

    Returns
    -------
    CohortReading
        patient_id ``sub-<hash>``, session_id ``ses-<hash>`` (of StudyInstanceUID), scan_id with
        the hash of SeriesInstanceUID; age, sex, site (a hash of InstitutionName) and scanner.
        Notes list every series left out, by hash and reason.

    Raises
    ------
    ManifestError
        If there is no usable T1 series, listing the kinds of series; if the label table has faults,
        listing all of them.
    ConfigurationError
        If the image folder cannot be used, the salt is too short, or `series` is not a regular
        expression.
    """
    root, target = _folders(source, images)
    spec, named = t1 or T1Spec(), _pattern(series)
    table = None if labels_table is None else read_patient_labels(Path(labels_table))
    folder = read_dicom_folder(root)
    if not folder.series:
        raise ManifestError(_WHERE, [_no_dicom(folder)])
    labels: Mapping[str, str | None] = {}
    label_matches: tuple[str, ...] = ()
    if table is not None:
        patient_ids = {found.identity.patient_id for found in folder.series}
        labels, label_matches = table.of(patient_ids, pad_ids=pad_ids)
    secret, salt_notes = _salt(salt, target)
    store = ImageFolder(target, Pseudonyms(secret), timeout_s=timeout_s)
    outcome = _convert(folder.series, store, spec, named)
    if not outcome.images:
        raise ManifestError(_WHERE, [*_no_t1(folder, outcome)])
    records = _records(outcome.images, labels, Pseudonyms(secret))
    rows = TextTable.from_records(BASE_COLUMNS, records)
    manifest = make_manifest(rows, source=target, folder=target)
    notes = (
        *salt_notes,
        *series_notes(folder, outcome),
        *patient_notes(folder.series, outcome, store),
        *label_matches,
        *table_notes(folder.series, labels),
        *label_notes(manifest),
    )
    return CohortReading(manifest=manifest, notes=notes)


def _folders(source: str | Path, images: str | Path | None) -> tuple[Path, Path]:
    if images is None:
        raise ConfigurationError(
            "no output folder for the converted DICOM series",
            remedy="Give a folder for the images",
        )
    root, target = Path(os.path.abspath(source)), Path(os.path.abspath(images))
    if not root.is_dir():
        fault = Fault("no such folder", remedy="Give the folder with the DICOM files")
        raise ManifestError(_WHERE, [fault])
    real_root, real_target = root.resolve(), target.resolve()
    if real_target.is_relative_to(real_root) or real_root.is_relative_to(real_target):
        raise ConfigurationError(
            "the image folder and the DICOM folder must not contain each other",
            remedy="Choose a separate folder for the images: unlike the DICOM files, they can be "
            "shared",
        )
    return root, target


def _pattern(series: str | None) -> re.Pattern[str] | None:
    if series is None:
        return None
    try:
        return re.compile(series, re.IGNORECASE)
    except re.error as error:
        raise ConfigurationError(
            "the series name is not a regular expression", found=f"{series!r}: {error}"
        ) from None


def _salt(salt: str | None, target: Path) -> tuple[str, tuple[str, ...]]:
    if salt is not None:
        return salt, ()
    path = target.with_name(f"{target.name}.salt")
    stored, is_new = file_salt(path)
    verb = "was generated and is stored" if is_new else "is read from the file"
    return stored, (
        f"The salt of the ids {verb} in {path}. Keep the file, and keep it secret: without it the "
        "same patients get other ids.",
    )


def _convert(
    series: Sequence[DicomSeries], store: ImageFolder, spec: T1Spec, named: re.Pattern[str] | None
) -> Outcome:
    outcome = Outcome()
    candidates = []
    for found in series:
        kind = kind_of_series(found, spec, named=named)
        if kind == T1:
            candidates.append(found)
        else:
            outcome.kinds.setdefault(kind, []).append(store.name_of(found))
    stacks = Counter(store.name_of(candidate) for candidate in candidates)
    for candidate in candidates:
        name = store.name_of(candidate)
        fault = _fault(candidate, spec, alone=stacks[name] == 1)
        if fault is None:
            try:
                outcome.images.append((candidate, store.store(candidate)))
            except ScanError as error:
                fault = error.what
        if fault is not None:
            outcome.broken.setdefault(fault, []).append(name)
    outcome.images.sort(key=lambda entry: entry[1].path)
    return outcome


def _fault(series: DicomSeries, spec: T1Spec, *, alone: bool) -> str | None:
    if not alone:
        return "several echoes or image types in one series"
    if series.n_slices < spec.min_slices:
        return f"fewer than {spec.min_slices} slices"
    return stack_fault(series)


def _no_dicom(folder: DicomFolder) -> Fault:
    return Fault(
        "no DICOM image in the folder",
        found="; ".join([counted(folder.n_files, "file"), *left_out(folder)]),
        remedy="Give the folder with the DICOM files; unpack archives first",
    )


def _no_t1(folder: DicomFolder, outcome: Outcome) -> Iterator[Fault]:
    for fault, names in outcome.broken.items():
        yield Fault(f"T1 series that cannot be used: {fault}", found=series_names(names))
    if not outcome.broken:
        kinds = [
            f"{counted(len(names), 'series', 'series')} {kind}"
            for kind, names in outcome.kinds.items()
        ]
        yield Fault(
            "no 3-D T1 series in the folder",
            found="; ".join([*kinds, *left_out(folder)]),
            remedy="If one of the series is T1 nevertheless, select it by its description",
        )


def _records(
    images: Sequence[tuple[DicomSeries, StoredImage]],
    labels: Mapping[str, str | None],
    pseudonyms: Pseudonyms,
) -> list[dict[str, str | None]]:
    sexes: dict[str, set[str]] = {}
    for series, image in images:
        if series.identity.sex is not None:
            sexes.setdefault(image.patient_id, set()).add(series.identity.sex)
    records = []
    for series, image in images:
        identity = series.identity
        age, known = age_years(identity), sexes.get(image.patient_id, set())
        site = pseudonyms.of("site", identity.institution) if identity.institution else None
        record: dict[str, str | None] = {
            name: getattr(image, name) for name in ("patient_id", "session_id", "scan_id", "path")
        }
        record["label"] = labels.get(identity.patient_id)
        record["age"] = None if age is None else f"{age:g}"
        record["sex"] = next(iter(known)) if len(known) == 1 else None
        record["site"] = None if site is None else f"site-{site}"
        record["scanner"] = scanner_name(image.sidecar)
        records.append(record)
    return records
