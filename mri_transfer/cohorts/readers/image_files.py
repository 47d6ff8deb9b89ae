"""Paths for tables that have none: the files of a download, found by the id of the image.

Archives such as ADNI's put the id of an image into its folder and its name::

    ADNI/002_S_0295/MPR__GradWarp/2006-04-18_08_20_30.0/I118671/ADNI_002_S_0295_..._I118671.nii
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.cohorts.words import counted, listed
from mri_transfer.errors import Fault, ManifestError

__all__ = ["add_paths"]

_NIFTI = (".nii.gz", ".nii")
_DICOM = (".dcm", ".ima")
_ADNI_ID = re.compile(r"[Ii]?([0-9]+)")
_CONVERT = (
    "Convert them first, with the image's id in the file's name (dcm2niix -f ADNI_I118671 "
    "FOLDER), or make the manifest with `mri-transfer manifest dicom`"
)


def add_paths(
    table: TextTable, folder: Path, *, column: str, where: str
) -> tuple[TextTable, tuple[str, ...]]:
    """Add a column path with the file of each row's image, relative to the folder.

    Parameters
    ----------
    table : TextTable
    folder : Path
        Searched with all folders below it for NIfTI files. One belongs to an image if a folder
        on its path, or a part of its name between underscores, is the image's id.
    column : str
        The column of the ids. Ids of ADNI may lack their `I`.
    where : str
        What to call the table in messages.

    Returns
    -------
    table : TextTable
        With empty paths where there is no file.
    notes : tuple of str

    Raises
    ------
    ManifestError
        If the table has no such column, or has paths already; if an image has several files, or
        none has one.
    """
    faults = [*_column_faults(table, column)]
    if faults:
        raise ManifestError(where, faults)
    records = list(table.records())
    ids = [cells[column] for _, cells in records]
    found = _files(folder, {_plain(one) for one in ids if one is not None})
    paths = [() if one is None else found.get(_plain(one), ()) for one in ids]
    images = [[path for path in several if path.endswith(_NIFTI)] for several in paths]
    faults = [
        Fault(
            "several files of one image",
            row=line,
            column=column,
            found=listed(several, shown=3),
            remedy="Leave one of them in the folder",
        )
        for (line, _), several in zip(records, images, strict=True)
        if len(several) > 1
    ]
    only_dicom = [
        str(one)
        for one, several, image in zip(ids, paths, images, strict=True)
        if several and not image
    ]
    if not any(images):
        faults.append(_none_found(folder, column, [one for one in ids if one], only_dicom))
    if faults:
        raise ManifestError(where, faults)
    rows = [
        {**cells, "path": several[0] if several else None}
        for (_, cells), several in zip(records, images, strict=True)
    ]
    notes = []
    if only_dicom:
        notes.append(
            f"{counted(len(only_dicom), 'image')} with DICOM files only: {listed(only_dicom)}. "
            f"{_CONVERT}."
        )
    made = TextTable.from_records([*table.columns, "path"], rows, table.lines)
    return made, tuple(notes)


def _column_faults(table: TextTable, column: str) -> Iterator[Fault]:
    if column not in table.columns:
        yield Fault(
            "there is no column with the ids of the images",
            row=1,
            column=column,
            found=", ".join(table.columns),
            remedy="Name it with --column THEIRS=scan_id, or in the mapping",
        )
    if "path" in table.columns:
        yield Fault(
            "the table has paths already",
            row=1,
            column="path",
            remedy="Do without --images, or delete the column",
        )


def _plain(image_id: str) -> str:
    match = _ADNI_ID.fullmatch(image_id)
    return image_id if match is None else f"I{match[1]}"


def _files(folder: Path, wanted: set[str]) -> Mapping[str, Sequence[str]]:
    """Return the NIfTI and DICOM files of each id, relative to the folder, sorted."""
    found: dict[str, list[str]] = {}
    for place, folders, names in os.walk(folder):
        folders.sort()
        inside = Path(place).relative_to(folder)
        for name in sorted(names):
            ending = next((one for one in (*_NIFTI, *_DICOM) if name.casefold().endswith(one)), "")
            if not ending or name.startswith("."):
                continue
            stem = name[: -len(ending)]
            parts = {*inside.parts, stem, *stem.split("_")}
            for image_id in wanted & parts:
                found.setdefault(image_id, []).append((inside / name).as_posix())
    return found


def _none_found(folder: Path, column: str, ids: Sequence[str], only_dicom: Sequence[str]) -> Fault:
    if only_dicom:
        return Fault(
            "the images are DICOM files, not NIfTI",
            column=column,
            found=listed(only_dicom),
            remedy=_CONVERT,
        )
    return Fault(
        "no image of the table is in the folder",
        column=column,
        found=f"none of {listed(ids)} at {folder}",
        expected="NIfTI files with the id as a folder on their path or as a part of their name, "
        "such as I118671/ADNI_..._I118671.nii",
        remedy="Name the folder of the download with --images",
    )
