"""Read the headers of the DICOM files in a folder and group them into series."""

from __future__ import annotations

import dataclasses
import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mri_transfer.cohorts.readers.dicom.header import DicomHeader
from mri_transfer.cohorts.readers.dicom.series import DicomSeries, Identity, SliceFile, Technical
from mri_transfer.cohorts.readers.quiet import silenced

__all__ = ["DicomFolder", "read_dicom_folder"]

_IDENTITY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientAge",
    "PatientSex",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "InstitutionName",
)
_TECHNICAL = (
    "Modality",
    "SOPClassUID",
    "ImageType",
    "SeriesDescription",
    "ProtocolName",
    "SequenceName",
    "PulseSequenceName",
    "ScanningSequence",
    "EchoPulseSequence",
    "MRAcquisitionType",
    "EchoTime",
    "InversionTime",
    "SliceThickness",
    "ContrastBolusAgent",
    "AngioFlag",
    "Rows",
    "Columns",
    "ImagesInAcquisition",
    "BitsAllocated",
    "SamplesPerPixel",
    "NumberOfFrames",
)
_PLACE = (
    "SOPInstanceUID",
    "InstanceNumber",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)

_DICOMDIR = "1.2.840.10008.1.3.10"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_FIRST_ELEMENTS = (b"\x02\0\0\0", b"\x08\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0")
_END_OF_ITEMS = b"\xfe\xff\xdd\xe0\0\0\0\0"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DicomFolder:
    """The content of a folder of DICOM files.

    Parameters
    ----------
    series : tuple of DicomSeries
    n_files : int
        Number of all files, DICOM or not.
    left_out : Counter
        Number of files that belong to no series, by reason.
    """

    series: tuple[DicomSeries, ...]
    n_files: int
    left_out: Counter[str]


def read_dicom_folder(source: Path) -> DicomFolder:
    """Read the header of every DICOM file in a folder, recursively.

    DICOM files are recognised by their first bytes, not their name. Links that leave the folder
    are not followed, and damaged files do not stop the others.

    Parameters
    ----------
    source : Path
    """
    found: dict[tuple[Any, ...], list[tuple[SliceFile, Identity, Technical]]] = {}
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    n_files = 0
    # pydicom's warnings quote header values, including names and dates.
    with silenced("pydicom"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in _walk(source, left_out):
            n_files += 1
            reading = _read_file(path, source)
            if isinstance(reading, str):
                left_out[reading] += 1
                continue
            file, identity, technical = reading
            if file.uid in seen:
                left_out["copies of another file"] += 1
                continue
            seen.add(file.uid)
            same_series = (identity.patient_key, identity.study_uid, identity.series_uid)
            same_stack = (technical.te_ms, technical.image_type)
            found.setdefault((*same_series, *same_stack), []).append(reading)
    return DicomFolder(series=tuple(_series(found)), n_files=n_files, left_out=left_out)


def _walk(source: Path, left_out: Counter[str]) -> Iterator[Path]:
    def unreadable(_: OSError) -> None:
        left_out["folders without read permission"] += 1

    for folder, names, files in os.walk(source, onerror=unreadable):
        names.sort()
        yield from (Path(folder, name) for name in sorted(files))


def _series(
    found: dict[tuple[Any, ...], list[tuple[SliceFile, Identity, Technical]]],
) -> Iterator[DicomSeries]:
    n_stacks = Counter(key[:3] for key in found)
    for key, readings in found.items():
        _, identity, technical = readings[0]
        yield DicomSeries(
            identity=identity,
            technical=technical,
            files=tuple(file for file, _, _ in readings),
            alone=n_stacks[key[:3]] == 1,
        )


def _read_file(path: Path, source: Path) -> tuple[SliceFile, Identity, Technical] | str:
    """Return a file's metadata, or a short reason why it belongs to no series."""
    try:
        if path.is_symlink() and not path.resolve().is_relative_to(source.resolve()):
            return "links that leave the folder"
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return "not regular files"
        with path.open("rb") as stream:
            if not _looks_like_dicom(stream.read(132)):
                return "not DICOM"
            stream.seek(0)
            return _parse(stream, path, status)
    except PermissionError:
        return "files without read permission"
    except Exception:  # a damaged header makes pydicom raise almost anything, quoting its values
        return "damaged DICOM"


def _looks_like_dicom(start: bytes) -> bool:
    # Old archives omit the preamble and begin with an element of group 2 or 8.
    return start[128:132] == b"DICM" or start[:4] in _FIRST_ELEMENTS


def _parse(
    stream: BinaryIO, path: Path, status: os.stat_result
) -> tuple[SliceFile, Identity, Technical] | str:
    import pydicom

    dataset = pydicom.dcmread(
        stream,
        stop_before_pixels=True,
        force=True,
        specific_tags=[*_IDENTITY, *_TECHNICAL, *_PLACE],
    )
    header = DicomHeader(dataset)
    syntax = str(getattr(dataset.file_meta, "TransferSyntaxUID", ""))
    sop_class = header.text("SOPClassUID")
    if sop_class == _DICOMDIR or (not sop_class and header.text("Modality") == ""):
        return "DICOM without an image"
    if not header.text("SeriesInstanceUID") or not header.text("SOPInstanceUID"):
        return "damaged DICOM"
    positions, orientations = header.places()
    file = SliceFile(
        path=path,
        uid=header.text("SOPInstanceUID"),
        positions_mm=positions,
        orientations=orientations,
        number=header.integer("InstanceNumber"),
        truncated=_is_truncated(stream, header, syntax, status.st_size),
        stamp=(status.st_size, status.st_mtime_ns),
    )
    return file, _identity(header), _technical(header)


def _is_truncated(stream: BinaryIO, header: DicomHeader, syntax: str, size: int) -> bool:
    """Return whether pixel data are missing at the end; the stream is positioned before them."""
    rows, columns = header.integer("Rows"), header.integer("Columns")
    if not rows or not columns or syntax == _DEFLATED:
        return False
    start = stream.tell()
    if _is_encapsulated(syntax):
        stream.seek(max(start, size - 4096))
        # Usually only padding follows the pixel data.
        return _END_OF_ITEMS not in stream.read()
    n_values = rows * columns * (header.integer("SamplesPerPixel") or 1)
    n_bits = n_values * (header.integer("BitsAllocated") or 16)
    n_frames = header.integer("NumberOfFrames") or 1
    return size - start < 8 + n_bits * n_frames // 8  # 8 bytes of tag and length


def _is_encapsulated(syntax: str) -> bool:
    from pydicom.uid import UID

    uid = UID(syntax)
    return uid.is_transfer_syntax and uid.is_encapsulated


def _identity(header: DicomHeader) -> Identity:
    patient_id = header.text("PatientID")
    name, birth_date = header.text("PatientName"), header.text("PatientBirthDate")
    study_uid = header.text("StudyInstanceUID")
    stand_in = f"{name}\n{birth_date}" if name and birth_date else f"study {study_uid}"
    sex = header.text("PatientSex").upper()
    dates = [header.text(name) for name in ("StudyDate", "SeriesDate", "AcquisitionDate")]
    return Identity(
        patient_key=patient_id or f"\n{stand_in}",
        patient_id=patient_id,
        study_uid=study_uid,
        series_uid=header.text("SeriesInstanceUID"),
        birth_date=birth_date,
        study_date=next((date for date in dates if date), ""),
        age=header.text("PatientAge"),
        institution=header.text("InstitutionName"),
        sex=sex if sex in ("F", "M") else None,
        known_patient=bool(patient_id),
    )


def _technical(header: DicomHeader) -> Technical:
    pulses = {"GRADIENT": "GR", "SPIN": "SE"}  # terms of the enhanced format
    sequence = header.words("ScanningSequence") or tuple(
        pulses[word] for word in header.words("EchoPulseSequence") if word in pulses
    )
    texts = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
    return Technical(
        modality=header.text("Modality").upper(),
        sop_class=header.text("SOPClassUID"),
        image_type=header.words("ImageType") or header.words("FrameType"),
        sequence=sequence,
        description=header.text("SeriesDescription"),
        texts=" ".join(header.text(name) for name in texts),
        acquisition=header.text("MRAcquisitionType").upper(),
        te_ms=header.number("EchoTime", "EffectiveEchoTime"),
        ti_ms=header.number("InversionTime", "InversionTimes"),
        thickness_mm=header.number("SliceThickness"),
        contrast=bool(header.text("ContrastBolusAgent")),
        angiography=header.text("AngioFlag").upper() == "Y",
        rows=header.integer("Rows") or 0,
        columns=header.integer("Columns") or 0,
        n_declared=header.integer("ImagesInAcquisition"),
    )
