"""DICOM series of phantoms, written slice by slice, of patients with telling names."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

__all__ = [
    "HANS",
    "ROSA",
    "Patient",
    "Place",
    "lps_of_voxel",
    "pixels",
    "write_enhanced_series",
    "write_series",
]

MARK = 4000


@dataclasses.dataclass(frozen=True)
class Patient:
    """Everything that must not leave the DICOM files, and what may."""

    name: str
    patient_id: str
    birth_date: str
    study_date: str
    age: str
    sex: str
    accession: str
    institution: str
    study_uid: str = dataclasses.field(default_factory=generate_uid)

    @property
    def secrets(self) -> tuple[str, ...]:
        dates = (self.birth_date, self.study_date)
        iso = [f"{date[:4]}-{date[4:6]}-{date[6:]}" for date in dates]
        return (
            *self.name.split("^"),
            self.patient_id,
            *dates,
            *iso,
            self.accession,
            self.institution,
            "Lindenallee",
            "Feldschreiber",
            self.study_uid,
            "1.2.826.0.1.3680043",
        )


HANS = Patient(
    name="Muellerkopf^Hansjoerg",
    patient_id="KH-471133",
    birth_date="19400117",
    study_date="20200229",
    age="080Y",
    sex="M",
    accession="ACC77123",
    institution="Klinikum Birkenhain",
)
ROSA = Patient(
    name="Fenstermacher^Rosalinde",
    patient_id="998877665",
    birth_date="19250601",
    study_date="20190531",
    age="",
    sex="F",
    accession="ACC88456",
    institution="Klinikum Birkenhain",
)

T1_VALUES: dict[str, Any] = {
    "SeriesDescription": "t1_mprage_sag Muellerkopf",
    "ProtocolName": "t1_mprage_sag",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SP", "MP"],
    "MRAcquisitionType": "3D",
    "RepetitionTime": 2300,
    "EchoTime": 2.98,
    "InversionTime": 900,
    "FlipAngle": 9,
}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the slices lie, in DICOM's words: millimetres to the left, the back and the top."""

    row: tuple[float, float, float] = (0.0, 1.0, 0.0)
    column: tuple[float, float, float] = (0.0, 0.0, -1.0)
    first: tuple[float, float, float] = (-20.0, -10.0, 30.0)
    spacing: tuple[float, float] = (1.1, 1.2)
    """Distance of rows, then of columns."""
    step: float = 1.5

    def position(self, index: int) -> npt.NDArray[np.float64]:
        normal = np.cross(self.row, self.column)
        return np.array(self.first) + index * self.step * normal


def lps_of_voxel(place: Place, *, row: int, column: int, index: int) -> npt.NDArray[np.float64]:
    """Patient coordinates of a pixel, by equation C.7.6.2.1-1 of the DICOM standard."""
    between_rows, between_columns = place.spacing
    across = np.array(place.row) * between_columns * column
    down = np.array(place.column) * between_rows * row
    return place.position(index) + across + down


def pixels(index: int, *, size: int, seed: int) -> npt.NDArray[np.uint16]:
    """One slice of noise; in slice 5 the pixel of row 7 and column 9 is marked."""
    rng = np.random.default_rng([seed, index])
    values = rng.integers(0, 100, (size, size - 4)).astype(np.uint16)
    if index == 5:
        values[7, 9] = MARK
    return values


def _dataset(patient: Patient, values: dict[str, Any], *, sop_class: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID = patient.name, patient.patient_id
    dataset.PatientBirthDate, dataset.StudyDate = patient.birth_date, patient.study_date
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = patient.study_date
    dataset.StudyTime, dataset.AcquisitionTime = "101500", "101733"
    if patient.age:
        dataset.PatientAge = patient.age
    dataset.PatientSex, dataset.AccessionNumber = patient.sex, patient.accession
    dataset.InstitutionName = patient.institution
    dataset.InstitutionAddress = "Lindenallee 5"
    dataset.ReferringPhysicianName = dataset.OperatorsName = "Feldschreiber^Ada"
    dataset.PatientComments = dataset.ImageComments = f"{patient.name} {patient.patient_id}"
    dataset.StudyDescription = f"Demenz {patient.name}"
    dataset.StudyInstanceUID, dataset.StudyID = patient.study_uid, patient.patient_id
    dataset.FrameOfReferenceUID = generate_uid()
    dataset.Modality, dataset.Manufacturer = "MR", "SIEMENS"
    dataset.ManufacturerModelName, dataset.MagneticFieldStrength = "Prisma", 2.893620
    dataset.StationName = f"MR{patient.patient_id}"
    dataset.SeriesNumber, dataset.AcquisitionNumber = 3, 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def write_series(
    folder: Path,
    patient: Patient,
    *,
    n_slices: int = 24,
    size: int = 32,
    missing: Collection[int] = (),
    place: Place = Place(),
    seed: int = 0,
    series_uid: str | None = None,
    name: str = "IM{:04d}",
    compressed: bool = False,
    **values: Any,
) -> list[Path]:
    """Write a series of single slices, by default a T1; values overrule header elements."""
    folder.mkdir(parents=True, exist_ok=True)
    series_uid = series_uid or generate_uid()
    header = {**T1_VALUES, **values}
    paths = []
    for index in range(n_slices):
        if index in missing:
            continue
        dataset = _dataset(patient, header, sop_class=header.get("SOPClassUID", MRImageStorage))
        dataset.SeriesInstanceUID, dataset.InstanceNumber = series_uid, index + 1
        slice_ = pixels(index, size=size, seed=seed)
        dataset.Rows, dataset.Columns = slice_.shape
        dataset.PixelSpacing, dataset.SliceThickness = list(place.spacing), place.step
        dataset.ImageOrientationPatient = [*place.row, *place.column]
        dataset.ImagePositionPatient = [round(part, 6) for part in place.position(index)]
        dataset.PixelData = slice_.tobytes()
        if compressed:
            dataset.compress(RLELossless)
        path = folder / name.format(index)
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_enhanced_series(path: Path, patient: Patient, *, n_slices: int = 24) -> Path:
    """Write a T1 in the enhanced format: all slices in one file."""
    place = Place()
    kept = ("SeriesDescription", "ProtocolName", "MRAcquisitionType")
    values = {name: T1_VALUES[name] for name in kept}
    dataset = _dataset(patient, values, sop_class=EnhancedMRImageStorage)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    dataset.EchoPulseSequence, dataset.InversionRecovery = "GRADIENT", "YES"
    dataset.SeriesInstanceUID, dataset.InstanceNumber = generate_uid(), 1
    dataset.NumberOfFrames = n_slices
    volume = np.stack([pixels(index, size=32, seed=0) for index in range(n_slices)])
    dataset.Rows, dataset.Columns = volume.shape[1:]

    def group(**content: Any) -> list[Dataset]:
        item = Dataset()
        for keyword, value in content.items():
            setattr(item, keyword, value)
        return [item]

    dataset.SharedFunctionalGroupsSequence = group(
        PixelMeasuresSequence=group(
            PixelSpacing=list(place.spacing),
            SliceThickness=place.step,
            SpacingBetweenSlices=place.step,
        ),
        PlaneOrientationSequence=group(ImageOrientationPatient=[*place.row, *place.column]),
        MREchoSequence=group(EffectiveEchoTime=2.98),
        MRTimingAndRelatedParametersSequence=group(RepetitionTime=2300.0, FlipAngle=9.0),
        MRModifierSequence=group(InversionTimes=900.0),
    )
    frames = []
    for index in range(n_slices):
        position = [float(part) for part in place.position(index)]
        content = group(
            InStackPositionNumber=index + 1, StackID="1", DimensionIndexValues=[index + 1]
        )
        frames += group(
            FrameContentSequence=content,
            PlanePositionSequence=group(ImagePositionPatient=position),
        )
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.PixelData = volume.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
