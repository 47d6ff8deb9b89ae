"""Cohorts in a folder of DICOM series: the T1 scans, converted, under hashed names.

A DICOM header says who the patient is. None of that leaves this reader: manifest, notes, messages
and images hold patient, study, series and institution as salted hashes (see `dicom_privacy`), age
in whole years (89 at most, older ones as 90), sex, and a few technical fields. Free text, dates,
names, ids and paths of the DICOM files appear nowhere. Which series are T1 is told in
`dicom_rule`. The images themselves still show the head's surface, and with it the face.
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
        Folder with DICOM files in any order, under any names, with other files between them.
    images : str or Path
        Folder that the converted images are written to, laid out like BIDS. What is there and
        current is used again. It must not lie in the source, nor the source in it.
    salt : str, optional
        Secret of at least 16 letters; the same salt gives the same ids. By default one is drawn
        and kept beside the images, in the file of their folder's name and ``.salt``, readable by
        its owner alone.
    labels_table : str or Path, optional
        Table with columns patient_id, as in the headers, and label. Without it all labels are
        missing.
    series : str, optional
        Regular expression: series whose SeriesDescription it is found in, whatever the case, are
        taken for T1, and no others. By default the rule of `dicom_rule` decides.
    t1 : T1Spec, optional
        The limits of that rule.
    timeout_s : float
        How long the conversion of one series may take.
    pad_ids : bool
        Take patients of the table of labels whose ids differ from one of the headers only in
        leading zeros or capitals for the same; by default they are a fault.

    Returns
    -------
    CohortReading
        patient_id ``sub-<hash>``, session_id ``ses-<hash>`` (of StudyInstanceUID), scan_id with
        the hash of SeriesInstanceUID; age, sex, site (a hash of InstitutionName) and scanner.
        Notes list every series that was left out, by hash and reason.

    Raises
    ------
    ManifestError
        If there is no usable T1 series; says what kinds of series there are. Also with all faults
        of the table of labels.
    ConfigurationError
        If the folder of the images cannot be used, the salt is too short, or `series` is no
        regular expression.
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
        patient_ids = {one.identity.patient_id for one in folder.series}
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
            "DICOM series are converted, and nobody said where to",
            remedy="Name a folder for the images",
        )
    root, target = Path(os.path.abspath(source)), Path(os.path.abspath(images))
    if not root.is_dir():
        fault = Fault("there is no such folder", remedy="Name the folder with the DICOM files")
        raise ManifestError(_WHERE, [fault])
    real_root, real_target = root.resolve(), target.resolve()
    if real_target.is_relative_to(real_root) or real_root.is_relative_to(real_target):
        raise ConfigurationError(
            "the folder of the images and that of the DICOM files lie one in the other",
            remedy="Choose a folder of its own for the images: they can be passed on, the DICOM "
            "files cannot",
        )
    return root, target


def _pattern(series: str | None) -> re.Pattern[str] | None:
    if series is None:
        return None
    try:
        return re.compile(series, re.IGNORECASE)
    except re.error as error:
        raise ConfigurationError(
            "the name of the series is no regular expression", found=f"{series!r}: {error}"
        ) from None


def _salt(salt: str | None, target: Path) -> tuple[str, tuple[str, ...]]:
    if salt is not None:
        return salt, ()
    path = target.with_name(f"{target.name}.salt")
    drawn, is_new = file_salt(path)
    verb = "was drawn and is kept" if is_new else "is the one kept"
    return drawn, (
        f"The salt of the ids {verb} in {path}. Keep it secret, and keep it: without it the same "
        "patients get other ids.",
    )


def _convert(
    series: Sequence[DicomSeries], store: ImageFolder, spec: T1Spec, named: re.Pattern[str] | None
) -> Outcome:
    outcome = Outcome()
    candidates = []
    for one in series:
        kind = kind_of_series(one, spec, named=named)
        if kind == T1:
            candidates.append(one)
        else:
            outcome.kinds.setdefault(kind, []).append(store.name_of(one))
    stacks = Counter(store.name_of(one) for one in candidates)
    for one in candidates:
        name = store.name_of(one)
        fault = _fault(one, spec, alone=stacks[name] == 1)
        if fault is None:
            try:
                outcome.images.append((one, store.store(one)))
            except ScanError as error:
                fault = error.what
        if fault is not None:
            outcome.broken.setdefault(fault, []).append(name)
    outcome.images.sort(key=lambda entry: entry[1].path)
    return outcome


def _fault(series: DicomSeries, spec: T1Spec, *, alone: bool) -> str | None:
    if not alone:
        return "several echoes or types of image in one series"
    if series.n_slices < spec.min_slices:
        return f"fewer than {spec.min_slices} slices"
    return stack_fault(series)


def _no_dicom(folder: DicomFolder) -> Fault:
    return Fault(
        "there is no DICOM image in the folder",
        found="; ".join([counted(folder.n_files, "file"), *left_out(folder)]),
        remedy="Name the folder with the DICOM files; archives must be unpacked",
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
            "there is no 3-D T1 series in the folder",
            found="; ".join([*kinds, *left_out(folder)]),
            remedy="If one of the series is T1 all the same, name it by its description",
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
