"""Cohorts in a BIDS folder: the images of one suffix, and what the tables say of the patients."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mri_transfer.cohorts.bids_tables import Phenotypes, read_phenotypes
from mri_transfer.cohorts.reading import CohortReading, label_notes
from mri_transfer.errors import Fault, ManifestError
from mri_transfer.manifest import BASE_COLUMNS, make_manifest
from mri_transfer.manifest_table import TextTable

__all__ = ["LABEL_COLUMNS", "read_bids_cohort"]

#: Columns of participants.tsv that are taken for the label, the first that exists.
LABEL_COLUMNS = ("diagnosis", "label", "group", "dx")

_EXTENSIONS = (".nii.gz", ".nii")
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "age": ("age",),
    "sex": ("sex", "gender"),
    "site": ("site",),
    "scanner": ("scanner",),
}
_SHOWN = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Image:
    path: str
    patient_id: str
    session_id: str | None
    scan_id: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Roles:
    """Which column of the data set's tables plays which part in the manifest."""

    base: Mapping[str, str]
    covariates: tuple[str, ...]
    left_out: tuple[str, ...]


def read_bids_cohort(
    source: str | Path, *, label_column: str | None = None, suffix: str = "T1w"
) -> CohortReading:
    """Read a BIDS data set.

    Parameters
    ----------
    source : str or Path
        The data set's folder.
    label_column : str, optional
        Column of the data set's tables that holds the diagnosis. By default the first of
        `LABEL_COLUMNS` that exists; without any, all labels are missing.
    suffix : str
        Which images are scans, such as ``T1w``.

    Returns
    -------
    CohortReading
        patient_id is ``sub-X``, session_id ``ses-Y`` or missing, scan_id the image's name without
        the suffix, which keeps the runs of a session apart. Age, sex, site, scanner and every
        column of numbers are taken over, the session's values before the patient's. Notes name
        participants without an image, images without a participant, and columns left out.

    Raises
    ------
    ManifestError
        With all faults at once: no images, a label column that does not exist, a link that leads
        out of the data set, two labels for one patient.
    """
    root = Path(os.path.abspath(source))
    images = _images(root, suffix)
    patient_ids = list(dict.fromkeys(image.patient_id for image in images))
    phenotypes = read_phenotypes(root, patient_ids)
    roles = _roles(phenotypes, label_column, root)
    records = [_record(image, phenotypes, roles) for image in images]
    table = TextTable.from_records(
        [*BASE_COLUMNS, *roles.covariates],
        records,
        [phenotypes.lines.get(image.patient_id) for image in images],
    )
    # Rows of the messages are those of participants.tsv: there the user can mend them.
    where = f"{root} (rows of participants.tsv)" if phenotypes.lines else str(root)
    manifest = make_manifest(table, source=root, folder=root, where=where)
    notes = (
        *_participant_notes(root, phenotypes, patient_ids, suffix),
        *_column_notes(roles),
        *label_notes(manifest),
    )
    return CohortReading(manifest=manifest, notes=notes)


def _images(root: Path, suffix: str) -> list[_Image]:
    if not root.is_dir():
        fault = Fault("there is no such folder", remedy="Name the BIDS data set's folder")
        raise ManifestError(str(root), [fault])
    images, faults = [], []
    for path, patient_id, session_id in _indexed(root, suffix):
        folders = path.split("/")[:-1]
        in_name = (patient_id, session_id)
        in_folders = (folders[0], next((part for part in folders if part[:4] == "ses-"), None))
        if in_name != in_folders:
            faults.append(
                Fault(
                    "the image's name and its folder speak of different patients or sessions",
                    column="path",
                    found=path,
                    remedy="Find out whose image it is, then rename or move it",
                )
            )
        name = path.rsplit("/", 1)[-1].split(".", 1)[0]
        scan_id = name.removesuffix(f"_{suffix}")
        images.append(
            _Image(path=path, patient_id=patient_id, session_id=session_id, scan_id=scan_id)
        )
    if not images:
        faults.append(
            Fault(
                f"the data set holds no {suffix} image",
                expected=f"sub-X/[ses-Y/]anat/sub-X[_ses-Y]_{suffix}.nii.gz, X and Y being "
                "letters and digits",
                remedy="Name the folder that holds the sub-X folders",
            )
        )
    if faults:
        raise ManifestError(str(root), faults)
    return sorted(images, key=lambda image: image.path)


def _indexed(root: Path, suffix: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield path (relative, POSIX), patient and session of every image of the suffix."""
    import bids2table  # slow: it pulls in pyarrow

    # bids2table takes brackets in the folder's name for a pattern, skips folders with a dot in
    # their name, and remembers folders it has seen; a fresh, plain name avoids all three.
    with tempfile.TemporaryDirectory() as folder, _silenced("bids2table"):
        alias = Path(folder) / "dataset"
        alias.symlink_to(root, target_is_directory=True)
        columns = ["path", "sub", "ses", "suffix", "ext"]
        rows = bids2table.index_dataset(alias).select(columns).to_pylist()
    for row in rows:
        if row["suffix"] == suffix and row["ext"] in _EXTENSIONS and row["sub"] is not None:
            session_id = None if row["ses"] is None else f"ses-{row['ses']}"
            yield Path(row["path"]).as_posix(), f"sub-{row['sub']}", session_id


@contextlib.contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Keep a package's log off the terminal; what it warns of is in the notes."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _roles(phenotypes: Phenotypes, label_column: str | None, root: Path) -> _Roles:
    if label_column is not None and label_column not in phenotypes.columns:
        fault = Fault(
            "there is no such label column",
            column=label_column,
            expected=", ".join(phenotypes.columns) or "a participants.tsv with columns",
            remedy="Name one of these columns",
        )
        raise ManifestError(str(root / "participants.tsv"), [fault])
    label = label_column or phenotypes.column_like(LABEL_COLUMNS)
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
    return _Roles(base=base, covariates=covariates, left_out=left_out)


def _record(image: _Image, phenotypes: Phenotypes, roles: _Roles) -> dict[str, str | None]:
    known = phenotypes.of_scan(image.patient_id, image.session_id)
    columns = {**roles.base, **{name: name for name in roles.covariates}}
    return {
        **{ours: known.get(theirs) for ours, theirs in columns.items()},
        **dataclasses.asdict(image),
    }


def _participant_notes(
    root: Path, phenotypes: Phenotypes, patient_ids: Sequence[str], suffix: str
) -> Iterator[str]:
    if not phenotypes.values:
        yield "There is no participants.tsv, or nobody in it: nothing is known of the patients."
    described = {patient_id for patient_id, _ in phenotypes.values}
    without_scan = sorted(set(phenotypes.lines) - set(patient_ids))
    if without_scan:
        yield f"Participants without a {suffix} image, left out: {_listed(without_scan)}."
    undescribed = [patient for patient in patient_ids if patient not in described]
    if phenotypes.lines and undescribed:
        yield f"Patients that participants.tsv does not describe: {_listed(undescribed)}."
    known = {*patient_ids, *without_scan}
    folders = {folder.name for folder in root.glob("sub-*") if folder.is_dir()}
    unused = sorted(folders - known)
    if unused:
        yield (
            f"Folders in which no {suffix} image was found, or whose name is not sub- followed by "
            f"letters and digits: {_listed(unused)}."
        )


def _column_notes(roles: _Roles) -> Iterator[str]:
    if "label" in roles.base:
        yield f"Labels are read from the column {roles.base['label']}."
    if roles.left_out:
        yield f"Columns left out because they are not numbers: {_listed(roles.left_out)}."


def _listed(names: Sequence[str]) -> str:
    more = "" if len(names) <= _SHOWN else f" and {len(names) - _SHOWN} more"
    return ", ".join(names[:_SHOWN]) + more
