"""Reader of BIDS data sets: the images with one suffix, and the patients' tables."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mri_transfer.cohorts.manifest.manifest import BASE_COLUMNS, make_manifest
from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.cohorts.readers.bids.faults import located_in_tables
from mri_transfer.cohorts.readers.bids.images import BidsImage, EntityFilters, find_images
from mri_transfer.cohorts.readers.bids.labels import (
    KnownLabels,
    known_labels,
    label_of,
    unknown_label_faults,
)
from mri_transfer.cohorts.readers.bids.levels import SexCodes
from mri_transfer.cohorts.readers.bids.sidecars import Sidecars, scanner_name, site_name
from mri_transfer.cohorts.readers.bids.spaces import one_image_a_scan
from mri_transfer.cohorts.readers.bids.tables import Origin, Phenotypes, read_phenotypes
from mri_transfer.cohorts.readers.bids.visits import VisitLabels, rival_label_columns, visit_notes
from mri_transfer.cohorts.readers.reading import CohortReading, label_notes
from mri_transfer.cohorts.words import listed
from mri_transfer.core.specs import suggestion
from mri_transfer.errors import Fault, ManifestError

__all__ = ["read_bids_cohort"]

#: Columns of the data set's tables used as the label, in order of preference.
LABEL_COLUMNS = ("diagnosis", "label", "group", "dx")

_PARTICIPANTS = "participants.tsv"
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "age": ("age",),
    "sex": ("sex", "gender"),
    "site": ("site",),
    "scanner": ("scanner",),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Roles:
    """The role of each column of the data set's tables in the manifest.

    `untold` lists columns without a table, to be read from the images' sidecars.
    """

    base: Mapping[str, str]
    untold: tuple[str, ...]
    covariates: tuple[str, ...]
    left_out: tuple[str, ...]


def read_bids_cohort(
    source: str | Path,
    *,
    label_column: str | None = None,
    suffix: str = "T1w",
    labels: Sequence[str] | Mapping[str, str | None] | None = None,
    filters: EntityFilters | None = None,
    space: str | None = None,
    phenotypes: Sequence[str] | None = None,
    tables: str | Path | None = None,
    pad_ids: bool = False,
    labelled: bool = True,
) -> CohortReading:
    """Read a BIDS data set, raw or derived.

    Parameters
    ----------
    source : str or Path
        The data set's folder. Its folders derivatives and sourcedata are not read: give such a
        data set's own folder instead.
    label_column : str, optional
        Column of the data set's tables with the diagnosis. By default the first of
        `LABEL_COLUMNS` that exists; if there is none, all labels are missing.
    suffix : str
        Suffix of the images to read, such as ``T1w``.
    labels : sequence of str or mapping, optional
        The known labels, ``("AD", "CN")``, or the label of each value of the label column,
        ``{"Dementia": "AD", "Control": "CN", "MCI": None}``; None makes the label missing. Any
        other value is a fault. By default every value is a label.
    filters : mapping, optional
        Images to read, by entity: ``{"ses": "01", "run": ["1", "2"], "acq": ""}``. An empty value
        selects images without the entity.
    space : str, optional
        Only images in this space, ``native`` for those without the entity. By default, if a scan
        has images in several spaces, the native one is kept.
    phenotypes : sequence of str, optional
        Names of the tables in phenotype/ to read; by default all.
    tables : str or Path, optional
        The data set whose participants.tsv, sessions.tsv and phenotype/ are read. By default
        the source itself or, if it has no participants.tsv and is in the folder derivatives of a
        data set with one, that data set.
    pad_ids : bool
        Match patients and sessions of the tables to images if they differ only in leading zeros or
        case (``ses-M06``, ``ses-M006``); by default such ids are a fault.
    labelled : bool
        Whether to read labels; scans that are only to be scored need none.

    Returns
    -------
    CohortReading
        patient_id is ``sub-X``, session_id ``ses-Y`` or missing, scan_id the image's name without
        the suffix, which distinguishes the runs of a session. Age, sex, site, scanner and all
        numeric columns are kept; a session's values take precedence over the patient's, those of
        participants.tsv over those of phenotype/. A patient's diagnosis does not apply to a visit
        if the tables give one at other visits. Without a column for site or scanner, they are read
        from the images' JSON sidecars by the inheritance principle (InstitutionName; Manufacturer,
        ManufacturersModelName and MagneticFieldStrength). Notes list participants without an
        image, images without a participant, and columns and images left out.

    Raises
    ------
    ManifestError
        Listing every fault: no images, a filter that matches nothing, a missing label column, an
        unknown label, a link that leaves the data set, two labels for one patient.
    """
    root = Path(os.path.abspath(source))
    found, image_notes = find_images(root, suffix=suffix, filters=filters)
    images, space_notes = one_image_a_scan(found, space=space, where=str(root))
    patient_ids = list(dict.fromkeys(image.patient_id for image in images))
    home = _home_of_tables(root, tables)
    keys = [(image.patient_id, image.session_id) for image in images]
    known = read_phenotypes(home, keys, tables=phenotypes, pad_ids=pad_ids)
    meanings = known_labels(labels)
    roles = _roles(known, label_column, home, demanded=meanings is not None, labelled=labelled)
    at_visit = VisitLabels(phenotypes=known, column=roles.base.get("label"))
    sidecars, sexes = Sidecars(root, suffix), SexCodes(home, roles.base.get("sex"))
    records = [_record(image, at_visit, roles, sidecars, meanings) for image in images]
    for image, record in zip(images, records, strict=True):
        origin = known.origin(image.patient_id, image.session_id, roles.base.get("sex", ""))
        record["sex"] = sexes.of(image.patient_id, record.get("sex"), origin)
    # Messages use the rows of participants.tsv, where the user can correct them.
    where = f"{home} (rows of {_PARTICIPANTS})" if known.lines else str(root)
    faults = [*_label_faults(images, at_visit, meanings)]
    numbers = range(1, len(images) + 1)
    table = TextTable.from_records([*BASE_COLUMNS, *roles.covariates], records, numbers)
    try:
        manifest = make_manifest(table, source=root, folder=root, where=where)
    except ManifestError as error:
        faults += located_in_tables(error, images, known, roles.base).faults
    if faults:
        raise ManifestError(where, faults)
    notes = (
        *image_notes,
        *space_notes,
        *([] if home == root else [f"The tables of {home} are read."]),
        *known.matched,
        *_participant_notes(root, known, patient_ids, suffix, filtered=bool(filters)),
        *visit_notes(known, images),
        *at_visit.notes(images),
        *sexes.notes(),
        *_column_notes(known, roles, records, sidecars),
        *_absent_label_notes(manifest.labels, meanings),
        *label_notes(manifest),
    )
    return CohortReading(manifest=manifest, notes=notes)


def _home_of_tables(root: Path, tables: str | Path | None) -> Path:
    if tables is not None:
        home = Path(os.path.abspath(tables))
        if not home.is_dir():
            fault = Fault("no such folder", remedy="Give the data set with the tables")
            raise ManifestError(str(home), [fault])
        return home
    raw = root.parent.parent
    is_derived = root.parent.name == "derivatives" and not (root / _PARTICIPANTS).is_file()
    return raw if is_derived and (raw / _PARTICIPANTS).is_file() else root


def _roles(
    phenotypes: Phenotypes,
    label_column: str | None,
    home: Path,
    *,
    demanded: bool,
    labelled: bool,
) -> _Roles:
    label = label_column or (phenotypes.column_like(LABEL_COLUMNS) if labelled else None)
    if label not in phenotypes.columns and (label is not None or demanded):
        fault = Fault(
            "no such label column" if label_column else "no label column",
            column=label_column,
            found=", ".join(phenotypes.columns) or f"no {_PARTICIPANTS} with columns",
            remedy=f"{suggestion(label or '', phenotypes.columns)}Give the column with the labels "
            "(--label-column)",
        )
        raise ManifestError(str(home / _PARTICIPANTS), [fault])
    if label is not None and label_column is None:
        rivals = [*rival_label_columns(phenotypes, label, LABEL_COLUMNS)]
        if rivals:
            raise ManifestError(str(home), rivals)
    base = {} if label is None else {"label": label}
    for name, spellings in _ALIASES.items():
        column = phenotypes.column_like(spellings)
        if column is not None and column != label:
            base[name] = column
    others = [column for column in phenotypes.columns if column not in base.values()]
    covariates = tuple(
        column
        for column in others
        if phenotypes.is_numeric(column) and column not in (*BASE_COLUMNS, "n_scans")
    )
    left_out = tuple(column for column in others if column not in covariates)
    # A column of the tables is used as a whole: sidecars may spell the same site differently.
    untold = tuple(
        name for name in ("site", "scanner") if not phenotypes.is_filled(base.get(name, ""))
    )
    return _Roles(base=base, untold=untold, covariates=covariates, left_out=left_out)


def _record(
    image: BidsImage,
    at_visit: VisitLabels,
    roles: _Roles,
    sidecars: Sidecars,
    meanings: KnownLabels | None,
) -> dict[str, str | None]:
    known = at_visit.phenotypes.of_scan(image.patient_id, image.session_id)
    columns = {**roles.base, **{name: name for name in roles.covariates}}
    record: dict[str, str | None] = {ours: known.get(theirs) for ours, theirs in columns.items()}
    label = record["label"] = at_visit.of(image)
    if meanings is not None and label is not None:
        record["label"] = label_of(label, meanings)
    if roles.untold:
        sidecar = sidecars.of(image.path, image.entities)
        names = {"site": site_name(sidecar), "scanner": scanner_name(sidecar)}
        record.update({name: names[name] for name in roles.untold})
    ids = ("path", "patient_id", "session_id", "scan_id")
    return {**record, **{name: getattr(image, name) for name in ids}}


def _label_faults(
    images: Sequence[BidsImage], at_visit: VisitLabels, meanings: KnownLabels | None
) -> Iterator[Fault]:
    column = at_visit.column
    if meanings is None or column is None:
        return
    cells: list[tuple[str, Origin | None]] = []
    for image in images:
        label = at_visit.of(image)
        if label is not None:
            origin = at_visit.phenotypes.origin(image.patient_id, image.session_id, column)
            cells.append((label, origin))
    yield from unknown_label_faults(cells, meanings, column=column, rows_of=_PARTICIPANTS)


def _participant_notes(
    root: Path,
    phenotypes: Phenotypes,
    patient_ids: Sequence[str],
    suffix: str,
    *,
    filtered: bool,
) -> Iterator[str]:
    if not phenotypes.values:
        yield f"{_PARTICIPANTS} is missing or empty: nothing is known about the patients."
    described = {patient_id for patient_id, _ in phenotypes.values}
    without_scan = sorted(set(phenotypes.lines) - set(patient_ids))
    kind = f"{suffix} image that matches the filters" if filtered else f"{suffix} image"
    if without_scan:
        yield f"Participants without a {kind}, left out: {listed(without_scan)}."
    undescribed = [patient for patient in patient_ids if patient not in described]
    if phenotypes.lines and undescribed:
        yield f"Patients without a row in {_PARTICIPANTS}: {listed(undescribed)}."
    known = {*patient_ids, *without_scan}
    folders = {folder.name for folder in root.glob("sub-*") if folder.is_dir()}
    unused = sorted(folders - known)
    if unused:
        yield (
            f"Folders without a {kind}, or whose name is not sub- followed by letters and "
            f"digits: {listed(unused)}."
        )


def _column_notes(
    phenotypes: Phenotypes,
    roles: _Roles,
    records: Sequence[Mapping[str, str | None]],
    sidecars: Sidecars,
) -> Iterator[str]:
    if "label" in roles.base:
        yield f"Labels are read from the column {roles.base['label']}."
    for name in roles.untold:
        if any(record[name] is not None for record in records):
            yield f"The {name} is read from the images' JSON sidecars."
    if sidecars.unread:
        yield f"Sidecars without a JSON object, not read: {listed(sidecars.unread)}."
    if phenotypes.renamed:
        yield (
            "Columns of phenotype/ that share a name with another table are called table.column: "
            f"{listed(phenotypes.renamed)}."
        )
    if roles.left_out:
        yield f"Non-numeric columns left out: {listed(roles.left_out)}."


def _absent_label_notes(labels: Sequence[str], meanings: KnownLabels | None) -> Iterator[str]:
    absent = [
        label
        for label in dict.fromkeys((meanings or {}).values())
        if label is not None and label not in labels
    ]
    if absent:
        yield f"No scan has the label {' or '.join(absent)}."
