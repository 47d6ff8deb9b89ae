"""Reader of OASIS-1 as distributed: the discs with Analyze volumes, and the clinical table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from mri_transfer.cohorts.common_faults import unwritable_images
from mri_transfer.cohorts.manifest.manifest import BASE_COLUMNS, Manifest, make_manifest
from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.cohorts.mapping.mapping import ColumnMapping, read_mapping
from mri_transfer.cohorts.readers.oasis1.clinical import (
    ClinicalTable,
    Oasis1Selection,
    choose,
    find_clinical_table,
    read_clinical_table,
)
from mri_transfer.cohorts.readers.oasis1.discs import (
    VOLUMES,
    Oasis1Volume,
    SessionKey,
    VolumePair,
    find_sessions,
)
from mri_transfer.cohorts.readers.oasis1.images import (
    GRID_VOXELS,
    Converted,
    convert_volume,
    image_path,
)
from mri_transfer.cohorts.readers.reading import CohortReading, label_notes
from mri_transfer.cohorts.words import counted, listed
from mri_transfer.errors import ConfigurationError, Fault, ManifestError, ScanError

__all__ = ["Oasis1Selection", "Oasis1Volume", "read_oasis1_cohort"]

_LEFT_AND_RIGHT = (
    "OASIS-1 does not record which side of a volume in Talairach space is left: by convention, the "
    "first axis is assumed to run from left to right."
)


def read_oasis1_cohort(
    source: str | Path,
    *,
    images: str | Path | None = None,
    clinical: str | Path | None = None,
    mapping: str | Path | ColumnMapping = "oasis1",
    volume: Oasis1Volume = "t88_masked",
    selection: Oasis1Selection = "all",
    min_age: float | None = None,
    max_age: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CohortReading:
    """Read OASIS-1 from its discs.

    Analyze files do not define left and right, and the rest of the pipeline refuses them. Each
    selected volume is therefore written as NIfTI to a separate folder, with a JSON file that
    records its sources; current images are reused.

    Parameters
    ----------
    source : str or Path
        The folder with the discs, a single disc, or a folder with all sessions.
    images : str or Path, optional
        Folder for the NIfTI images; by default ``images`` in the source.
    clinical : str or Path, optional
        The clinical table (.csv or .xlsx). By default ``oasis_cross-sectional.csv`` or ``.xlsx``
        in the source or its parent; if there is none, all labels are missing.
    mapping : str, Path or ColumnMapping
        How the table becomes a manifest, including the label. In the shipped mapping, CDR above 0
        is AD and CDR 0 is CN; a blank CDR means that the person was not assessed, and gives no
        label.
    volume : {"t88_masked", "t88", "raw"}
        In Talairach space without skull, with skull, or the averaged scan before registration.
    selection : {"all", "hon_khan_2017"}
        ``hon_khan_2017``: the 200 patients of Hon and Khan (2017), 100 with CDR > 0 and the 100
        oldest with CDR 0; ties in age go to the smaller number.
    min_age, max_age : float, optional
        Inclusive age limits in years; sessions of unknown age are left out.
    progress : callable, optional
        Called with the number of finished sessions and the total.

    Returns
    -------
    CohortReading
        patient_id ``OAS1_0001``, session_id ``MR1`` or ``MR2`` (a repeated scan of the same
        person), covariates education, ses, mmse, cdr, etiv_cm3, nwbv, asf and delay_days. Notes
        list each session left out, and why.

    Raises
    ------
    ManifestError
        If there is no usable session, or the clinical table has faults; every fault is listed,
        including two labels for one patient.
    ConfigurationError
        If an option is invalid, or the image folder cannot be written.
    """
    _check_options(volume, selection, min_age, max_age)
    root = Path(os.path.abspath(source))
    folder = root / "images" if images is None else Path(os.path.abspath(images))
    sessions = find_sessions(root, volume)
    table = _clinical(root, clinical, mapping)
    chosen, choice_notes = choose(
        table, list(sessions), selection=selection, min_age=min_age, max_age=max_age
    )
    converted, left_out = _convert(
        {key: sessions[key] for key in chosen}, folder, volume, root, progress
    )
    if not converted:
        raise ManifestError(str(root), _nothing_left(left_out))
    text = _table(converted, table, folder)
    # Messages use the rows of the clinical table, where the user can correct them.
    where = f"{root} (rows of {table.path.name})" if table.path is not None else str(root)
    manifest = make_manifest(text, source=root, folder=folder, where=where)
    notes = (
        *table.notes,
        *choice_notes,
        *(f"{'_'.join(key)} is left out: {reason}" for key, reason in left_out.items()),
        *_table_notes(table, list(sessions), selection),
        *_image_notes(converted, volume),
        *_repeat_notes(manifest),
        *label_notes(manifest),
    )
    return CohortReading(manifest=manifest, notes=notes)


def _check_options(
    volume: str, selection: str, min_age: float | None, max_age: float | None
) -> None:
    known = {
        "volume": (volume, tuple(VOLUMES)),
        "selection": (selection, get_args(Oasis1Selection)),
    }
    for name, (value, values) in known.items():
        if value not in values:
            raise ConfigurationError(
                f"no such {name}", where="oasis1", found=value, expected=", ".join(values)
            )
    if min_age is not None and max_age is not None and min_age > max_age:
        raise ConfigurationError(
            "the age limits exclude everybody",
            where="oasis1",
            found=f"at least {min_age:g} and at most {max_age:g} years",
        )


def _clinical(
    root: Path, clinical: str | Path | None, mapping: str | Path | ColumnMapping
) -> ClinicalTable:
    named = None if clinical is None else Path(os.path.abspath(clinical))
    path = named or find_clinical_table(root)
    spec = read_mapping(mapping)
    if path is None:
        return ClinicalTable(
            path=None,
            columns=(),
            rows={},
            notes=("No clinical table: nothing is known about the patients.",),
        )
    return read_clinical_table(path, spec)


def _convert(
    sessions: Mapping[SessionKey, VolumePair],
    folder: Path,
    volume: Oasis1Volume,
    root: Path,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[SessionKey, Converted], dict[SessionKey, str]]:
    """Convert the sessions; return the images, and why the others are left out."""
    converted, left_out = {}, {}
    for done, (key, pair) in enumerate(sessions.items(), start=1):
        path = folder / image_path(key, volume)
        try:
            converted[key] = convert_volume(pair, path, volume=volume, root=root)
        except ScanError as error:
            left_out[key] = str(error)
        except OSError as error:
            raise unwritable_images(folder, error) from error
        if progress is not None:
            progress(done, len(sessions))
    return converted, left_out


def _nothing_left(left_out: Mapping[SessionKey, str]) -> list[Fault]:
    if not left_out:
        return [Fault("no session meets the selection and the age limits")]
    return [Fault(f"{'_'.join(key)} cannot be used: {why}") for key, why in left_out.items()]


def _table(
    converted: Mapping[SessionKey, Converted], table: ClinicalTable, folder: Path
) -> TextTable:
    names = [*BASE_COLUMNS, *(name for name in table.columns if name not in BASE_COLUMNS)]
    records, lines = [], []
    for key, image in converted.items():
        row = table.rows.get(key)
        own = {"patient_id": key[0], "session_id": key[1]}
        path = image.path.relative_to(folder).as_posix()
        records.append({**(row.cells if row is not None else {}), **own, "path": path})
        lines.append(None if row is None else row.line)
    return TextTable.from_records(names, records, lines)


def _table_notes(table: ClinicalTable, sessions: Sequence[SessionKey], selection: str) -> list[str]:
    if table.path is None:
        return []
    notes = []
    unknown = ["_".join(key) for key in sessions if key not in table.rows]
    if unknown:
        notes.append(f"Sessions that are not in the clinical table: {listed(unknown)}.")
    absent = ["_".join(key) for key in table.rows if key not in set(sessions)]
    if absent and selection == "all":
        notes.append(
            f"{counted(len(absent), 'session')} in the clinical table but not in the folder: "
            f"{listed(absent)}."
        )
    return notes


def _image_notes(converted: Mapping[SessionKey, Converted], volume: str) -> list[str]:
    n_new = sum(image.is_new for image in converted.values())
    notes = [
        f"{counted(n_new, 'volume')} converted to NIfTI, {len(converted) - n_new} already there."
    ]
    if volume != "raw":
        notes.append(_LEFT_AND_RIGHT)
        odd = ["_".join(key) for key, image in converted.items() if image.shape != GRID_VOXELS]
        if odd:
            grid = " x ".join(map(str, GRID_VOXELS))
            notes.append(
                f"The position of the commissure is uncertain, as the grid is not {grid}: "
                f"{listed(odd)}."
            )
    return notes


def _repeat_notes(manifest: Manifest) -> list[str]:
    """Return a note on unlabelled scans of patients with a label at another session."""
    labelled = manifest.patients()["label"].dropna().index
    scans = manifest.scans
    repeats = scans[scans["label"].isna() & scans["patient_id"].isin(labelled)]["scan_id"]
    if repeats.empty:
        return []
    return [
        "Without a label, as the patient was not assessed at this session but at another: "
        f"{listed(list(repeats))}."
    ]
