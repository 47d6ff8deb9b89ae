"""Reader of cohorts prepared with Clinica: t1-linear images in a CAPS folder, and label tables.

Clinica's t1-linear pipeline (Routier et al. 2021, doi:10.3389/fninf.2021.689675) registers each
T1 scan to the MNI152NLin2009cSym template and, by default, crops it to 169 x 208 x 179 voxels::

    subjects/sub-X/ses-Y/t1_linear/
        sub-X_ses-Y_space-MNI152NLin2009cSym_desc-Crop_res-1x1x1_T1w.nii.gz
        sub-X_ses-Y_space-MNI152NLin2009cSym_res-1x1x1_T1w.nii.gz
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mri_transfer.cohorts.common_faults import misplaced_image
from mri_transfer.cohorts.manifest.manifest import BASE_COLUMNS, make_manifest
from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.cohorts.readers.caps.labels import CapsLabels, read_caps_labels
from mri_transfer.cohorts.readers.reading import CohortReading, label_notes
from mri_transfer.cohorts.words import listed
from mri_transfer.errors import Fault, ManifestError

__all__ = ["read_caps_cohort"]

_SPACE = "_space-MNI152NLin2009cSym"
_ENDINGS: Mapping[bool, str] = {
    True: f"{_SPACE}_desc-Crop_res-1x1x1_T1w.nii.gz",
    False: f"{_SPACE}_res-1x1x1_T1w.nii.gz",
}
_KINDS: Mapping[bool, str] = {True: "cropped", False: "uncropped"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Image:
    path: str
    patient_id: str
    session_id: str
    scan_id: str


def read_caps_cohort(
    source: str | Path,
    *,
    labels: str | Path | Sequence[str | Path] | None = None,
    label_column: str = "diagnosis",
    cropped: bool = True,
    pad_ids: bool = False,
) -> CohortReading:
    """Read the t1-linear images of a CAPS folder.

    Parameters
    ----------
    source : str or Path
        The CAPS folder, which contains ``subjects``.
    labels : str, Path or sequence of them, optional
        Tables with the columns participant_id, session_id and a label: files, or folders whose
        .tsv files are read (such as ClinicaDL's AD.tsv and CN.tsv). A table without session_id
        applies to all sessions. Without a table, all labels are missing.
    label_column : str
        The column with the label.
    cropped : bool
        Whether to use the cropped or the uncropped image of each session.
    pad_ids : bool
        Match patients and sessions of the tables to images if they differ only in leading zeros or
        case; by default such ids are a fault.

    Returns
    -------
    CohortReading
        patient_id ``sub-X``, session_id ``ses-Y``, scan_id the image's name up to the space. Age,
        sex, site, scanner and all numeric columns are kept. Notes list sessions in the tables
        without an image, images that are not in the tables, and columns left out.

    Raises
    ------
    ManifestError
        Listing every fault: no images, a missing label column, tables that contradict each other,
        two labels for one patient.
    """
    root = Path(os.path.abspath(source))
    images, without = _images(root, cropped=cropped)
    known = read_caps_labels(
        _tables(labels),
        [(image.patient_id, image.session_id) for image in images],
        label_column=label_column,
        pad_ids=pad_ids,
    )
    records = [known.of_scan(image.patient_id, image.session_id) for image in images]
    table = TextTable.from_records(
        [*BASE_COLUMNS, *known.covariates],
        [
            {**record.cells, **dataclasses.asdict(image)}
            for record, image in zip(records, images, strict=True)
        ],
        [record.line for record in records],
    )
    where = f"{root} (rows of {known.single.name})" if known.single is not None else str(root)
    manifest = make_manifest(table, source=root, folder=root, where=where)
    notes = (
        *known.notes,
        *_other_kind_notes(without, cropped=cropped),
        *_meeting_notes(images, known),
        *label_notes(manifest),
    )
    return CohortReading(manifest=manifest, notes=notes)


def _tables(labels: str | Path | Sequence[str | Path] | None) -> list[Path]:
    """Return the given files, with folders replaced by the files in them."""
    if labels is None:
        return []
    named = [labels] if isinstance(labels, str | Path) else labels
    paths = []
    for path in (Path(os.path.abspath(name)) for name in named):
        inside = sorted(path.glob("*.tsv")) if path.is_dir() else [path]
        if not inside:
            fault = Fault("the folder has no label table", expected="files ending in .tsv")
            raise ManifestError(str(path), [fault])
        paths += inside
    return paths


def _images(root: Path, *, cropped: bool) -> tuple[list[_Image], list[str]]:
    """Return the images, and the sessions that have only the other kind."""
    if not (root / "subjects").is_dir():
        fault = Fault(
            "not a CAPS folder",
            found="no folder subjects in it" if root.is_dir() else "no such folder",
            expected="subjects/sub-X/ses-Y/t1_linear",
            remedy="Give Clinica's output folder",
        )
        raise ManifestError(str(root), [fault])
    images = [_image(path, root) for path in _image_paths(root, cropped=cropped)]
    others = [_image(path, root) for path in _image_paths(root, cropped=not cropped)]
    faults = [fault for image in images for fault in _misplaced(image)]
    if not images:
        has_other = f"{len(others)} {_KINDS[not cropped]} ones" if others else None
        faults.append(
            Fault(
                f"no {_KINDS[cropped]} t1-linear image",
                found=has_other,
                expected=f"subjects/sub-X/ses-Y/t1_linear/sub-X_ses-Y{_ENDINGS[cropped]}",
                remedy=f"Use the {_KINDS[not cropped]} images" if others else "Run t1-linear",
            )
        )
    if faults:
        raise ManifestError(str(root), faults)
    scan_ids = {image.scan_id for image in images}
    return images, [image.scan_id for image in others if image.scan_id not in scan_ids]


def _image_paths(root: Path, *, cropped: bool) -> list[Path]:
    return sorted(root.glob(f"subjects/sub-*/ses-*/t1_linear/*{_ENDINGS[cropped]}"))


def _image(path: Path, root: Path) -> _Image:
    patient_id, session_id = path.relative_to(root).parts[1:3]
    return _Image(
        path=path.relative_to(root).as_posix(),
        patient_id=patient_id,
        session_id=session_id,
        scan_id=path.name.partition(_SPACE)[0],
    )


def _misplaced(image: _Image) -> Iterator[Fault]:
    if not f"{image.scan_id}_".startswith(f"{image.patient_id}_{image.session_id}_"):
        yield misplaced_image(image.path)


def _other_kind_notes(scan_ids: Sequence[str], *, cropped: bool) -> Iterator[str]:
    if scan_ids:
        yield (f"Left out, as only the {_KINDS[not cropped]} image exists: {listed(scan_ids)}.")


def _meeting_notes(images: Sequence[_Image], known: CapsLabels) -> Iterator[str]:
    if not known.keys:
        return
    scans = {(image.patient_id, image.session_id) for image in images}
    patients = {patient_id for patient_id, _ in scans}
    unmet = [
        " ".join(part for part in key if part)
        for key in known.keys
        if (key not in scans if key[1] is not None else key[0] not in patients)
    ]
    if unmet:
        yield f"In the label tables, but without an image, left out: {listed(unmet)}."
    unknown = [
        image.scan_id
        for image in images
        if (image.patient_id, image.session_id) not in known.keys
        and (image.patient_id, None) not in known.keys
    ]
    if unknown:
        yield f"Images that are not in the label tables: {listed(unknown)}."
