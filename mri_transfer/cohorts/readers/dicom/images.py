"""The folder of images converted from DICOM, with a BIDS layout; each is converted once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mri_transfer.cohorts.common_faults import unwritable_images
from mri_transfer.cohorts.readers.dicom.convert import (
    convert_series,
    converter_version,
    write_image,
)
from mri_transfer.cohorts.readers.dicom.privacy import Pseudonyms
from mri_transfer.cohorts.readers.dicom.series import DicomSeries
from mri_transfer.core.files import read_json_object, sha256_of_file, write_json
from mri_transfer.core.specs import canonical_json
from mri_transfer.errors import ConfigurationError
from mri_transfer.version import __version__

__all__ = ["ImageFolder", "StoredImage"]

#: Version of the conversion: change it when images would come out differently.
_RECIPE = "mri-transfer/dicom/1"
_SALT_CHECK = "IdsSaltedWith"
_SOURCE, _CONTENT = "SourceHash", "ImageSha256"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoredImage:
    """An image in the folder.

    Parameters
    ----------
    path : str
        Relative to the folder.
    patient_id, session_id, scan_id : str
        Built from hashes.
    sidecar : mapping
        Technical fields.
    is_new : bool
        Whether it was converted by this call.
    """

    path: str
    patient_id: str
    session_id: str
    scan_id: str
    sidecar: Mapping[str, Any]
    is_new: bool


class ImageFolder:
    """Converts series into a folder, reusing images that already exist.

    Parameters
    ----------
    folder : Path
        Created if it is missing.
    pseudonyms : Pseudonyms
        Hashes the ids.
    timeout_s : float
        Time limit for one conversion, in seconds.

    Raises
    ------
    ConfigurationError
        If the folder cannot be written, or was written with another salt: one patient would get
        two ids.
    """

    def __init__(self, folder: Path, pseudonyms: Pseudonyms, *, timeout_s: float) -> None:
        self.folder = folder
        self._pseudonyms = pseudonyms
        self._timeout_s = timeout_s
        self._recipe = f"{_RECIPE} dcm2niix {converter_version()}"
        self._claim()

    def _claim(self) -> None:
        path = self.folder / "dataset_description.json"
        check = self._pseudonyms.of("salt", "check")
        known = read_json_object(path)
        if known and known.get(_SALT_CHECK) != check:
            raise ConfigurationError(
                "the ids of the images in the folder were hashed with another salt",
                where=str(self.folder),
                remedy="Give the original salt, or another folder",
            )
        description = {
            "Name": "Images converted from DICOM",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "GeneratedBy": [
                {"Name": "mri-transfer", "Version": __version__},
                {"Name": "dcm2niix", "Version": converter_version()},
            ],
            _SALT_CHECK: check,
        }
        try:
            if known != description:
                write_json(path, description)
        except OSError as error:
            raise unwritable_images(self.folder, error) from None

    def name_of(self, series: DicomSeries) -> str:
        """Return a series' name in messages: the hash of its id."""
        return self._pseudonyms.of("series", series.identity.series_uid)

    def patient_of(self, series: DicomSeries) -> str:
        """Return the id of the series' patient: ``sub-`` and a hash."""
        return f"sub-{self._pseudonyms.of('patient', series.identity.patient_key)}"

    def store(self, series: DicomSeries) -> StoredImage:
        """Return the image of a series, converting it unless a current one exists.

        Raises
        ------
        UnsupportedScanError
            If the series cannot be converted.
        """
        study = self._pseudonyms.of("study", series.identity.study_uid)
        patient, session = self.patient_of(series), f"ses-{study}"
        scan = f"{patient}_{session}_acq-{self.name_of(series)}"
        image = self.folder / patient / session / "anat" / f"{scan}_T1w.nii.gz"
        source = self._source_hash(series)
        sidecar_path = image.with_name(f"{scan}_T1w.json")
        sidecar = read_json_object(sidecar_path) or {}
        is_new = not _is_current(image, sidecar, source)
        if is_new:
            converted = convert_series(
                series, where=f"series {self.name_of(series)}", timeout_s=self._timeout_s
            )
            # An image without its sidecar, as after a crash, is not used.
            sidecar_path.unlink(missing_ok=True)
            write_image(converted, image)
            sidecar = {**converted.sidecar, _SOURCE: source, _CONTENT: sha256_of_file(image)}
            write_json(sidecar_path, sidecar)
        return StoredImage(
            path=image.relative_to(self.folder).as_posix(),
            patient_id=patient,
            session_id=session,
            scan_id=scan,
            sidecar=sidecar,
            is_new=is_new,
        )

    def _source_hash(self, series: DicomSeries) -> str:
        """Return a hash of the files' ids, sizes and modification times, and of the conversion."""
        files = sorted([file.uid, *file.stamp] for file in series.files)
        return self._pseudonyms.of("source", canonical_json([self._recipe, files]))


def _is_current(image: Path, sidecar: Mapping[str, Any], source: str) -> bool:
    if sidecar.get(_SOURCE) != source or not image.is_file():
        return False
    return bool(sidecar.get(_CONTENT) == sha256_of_file(image))
