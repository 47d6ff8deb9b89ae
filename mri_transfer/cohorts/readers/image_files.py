"""Find the files of a download by image id, for tables without paths.

Archives such as ADNI's put an image's id into its folder and file name::

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
    "Convert them first, with the image id in the file name (dcm2niix -f ADNI_I118671 FOLDER), "
    "or create the manifest with `mri-transfer manifest dicom`"
)


def add_paths(
    table: TextTable, folder: Path, *, column: str, where: str
) -> tuple[TextTable, tuple[str, ...]]:
    """Add a column path with the file of each row's image, relative to the folder.

    Parameters
    ----------
    table : TextTable
    folder : Path
        Searched recursively for NIfTI files. A file belongs to an image if a folder on its path, or
        a part of its name between underscores, is the image id.
    column : str
        The column of image ids. The leading `I` of ADNI's ids is optional.
    where : str
        What to call the table in messages.

    Returns
    -------
    table : TextTable
        With an empty path where there is no file.
    notes : tuple of str

    Raises
    ------
    ManifestError
        If the column is missing or the table already has paths; if an image has several files, or
        no image has a file.
    """
    faults = [*_column_faults(table, column)]
    if faults:
        raise ManifestError(where, faults)
    records = list(table.records())
    ids = [cells[column] for _, cells in records]
    files = _files(folder, {_plain(image_id) for image_id in ids if image_id is not None})
    paths = [() if image_id is None else files.get(_plain(image_id), ()) for image_id in ids]
    images = [[path for path in several if path.endswith(_NIFTI)] for several in paths]
    faults = [
        Fault(
            "several files for one image",
            row=line,
            column=column,
            found=listed(several, shown=3),
            remedy="Keep only one of them in the folder",
        )
        for (line, _), several in zip(records, images, strict=True)
        if len(several) > 1
    ]
    only_dicom = [
        str(image_id)
        for image_id, several, image in zip(ids, paths, images, strict=True)
        if several and not image
    ]
    if not any(images):
        faults.append(_none_found(folder, column, [name for name in ids if name], only_dicom))
    if faults:
        raise ManifestError(where, faults)
    rows = [
        {**cells, "path": several[0] if several else None}
        for (_, cells), several in zip(records, images, strict=True)
    ]
    notes = []
    if only_dicom:
        notes.append(
            f"{counted(len(only_dicom), 'image')} only as DICOM files: {listed(only_dicom)}. "
            f"{_CONVERT}."
        )
    return TextTable.from_records([*table.columns, "path"], rows, table.lines), tuple(notes)


def _column_faults(table: TextTable, column: str) -> Iterator[Fault]:
    if column not in table.columns:
        yield Fault(
            "no column of image ids",
            row=1,
            column=column,
            found=", ".join(table.columns),
            remedy="Set it with --column THEIRS=scan_id, or in the mapping",
        )
    if "path" in table.columns:
        yield Fault(
            "the table already has paths",
            row=1,
            column="path",
            remedy="Omit --images, or delete the column",
        )


def _plain(image_id: str) -> str:
    match = _ADNI_ID.fullmatch(image_id)
    return image_id if match is None else f"I{match[1]}"


def _files(folder: Path, wanted: set[str]) -> Mapping[str, Sequence[str]]:
    """Return the NIfTI and DICOM files of each id, relative to the folder, sorted."""
    files: dict[str, list[str]] = {}
    endings = (*_NIFTI, *_DICOM)
    for parent, folders, names in os.walk(folder):
        folders.sort()
        inside = Path(parent).relative_to(folder)
        for name in sorted(names):
            ending = next((end for end in endings if name.casefold().endswith(end)), "")
            if not ending or name.startswith("."):
                continue
            stem = name[: -len(ending)]
            parts = {*inside.parts, stem, *stem.split("_")}
            for image_id in wanted & parts:
                files.setdefault(image_id, []).append((inside / name).as_posix())
    return files


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
        found=f"none of {listed(ids)} in {folder}",
        expected="NIfTI files with the image id as a folder on their path or a part of their name, "
        "such as I118671/ADNI_..._I118671.nii",
        remedy="Give the folder of the download with --images",
    )
