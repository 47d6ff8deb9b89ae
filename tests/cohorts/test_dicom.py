"""The reader of DICOM folders: what is a T1, where its voxels lie, and that nobody is named."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.readers.dicom.privacy import (
    Pseudonyms,
    age_years,
    file_salt,
    technical_fields,
)
from mri_transfer.cohorts.readers.dicom.reader import read_dicom_cohort
from mri_transfer.cohorts.readers.dicom.rule import T1Spec, kind_of_series
from mri_transfer.cohorts.readers.dicom.series import DicomSeries, Identity, SliceFile, Technical
from mri_transfer.cohorts.readers.dicom.series import stack_fault as fault_of
from mri_transfer.cohorts.readers.reading import CohortReading
from mri_transfer.errors import ConfigurationError, ManifestError
from mri_transfer.scans.volumes import load_volume
from tests.cohorts.dicom_phantoms import (
    HANS,
    MARK,
    ROSA,
    Patient,
    Place,
    lps_of_voxel,
    pixels,
    write_enhanced_series,
    write_series,
)

SALT = "0123456789abcdef-of-the-tests"
SMALL = T1Spec(min_slices=20)


def _read(source: Path, images: Path, **options: Any) -> CohortReading:
    return read_dicom_cohort(source, images=images, **{"salt": SALT, "t1": SMALL, **options})


def _note(reading: CohortReading, words: str) -> str:
    (note,) = [note for note in reading.notes if words in note]
    return note


def _write_archive(root: Path) -> Path:
    """Write what a hospital exports: two patients, good and bad series, other files between."""
    hans = root / "Muellerkopf_Hansjoerg_KH-471133"
    write_series(hans / "T1", HANS, name="Muellerkopf.{:03d}")
    flair = {"SeriesDescription": "t2_flair Muellerkopf", "EchoTime": 120, "InversionTime": 1800}
    write_series(hans / "x" / "FLAIR", HANS, n_slices=22, seed=1, **flair)
    localizer = {
        "SeriesDescription": "localizer",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "LOCALIZER"],
    }
    write_series(hans / "LOC", HANS, n_slices=3, seed=2, MRAcquisitionType="2D", **localizer)
    rosa = root / "998877665"
    write_series(rosa / "ok", ROSA, seed=3, compressed=True)
    write_series(rosa / "gap", ROSA, seed=4, missing=(9,))
    cut = write_series(rosa / "cut", ROSA, seed=5)[-1]
    cut.write_bytes(cut.read_bytes()[:-700])
    write_series(rosa / "ct", ROSA, n_slices=2, seed=6, Modality="CT")
    (rosa / "Fenstermacher.txt").write_text("Fenstermacher, Rosalinde")
    (rosa / "empty").write_bytes(b"")
    (rosa / "damaged").write_bytes(b"\0" * 128 + b"DICM" + b"\x02\0\0\0Fenstermacher" * 9)
    return root


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hospital's export. Read only."""
    return _write_archive(tmp_path_factory.mktemp("export") / "source")


@pytest.fixture(scope="module")
def reading(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> CohortReading:
    """The export as read once, without a salt of the user's own."""
    return _read(archive, tmp_path_factory.mktemp("converted") / "images", salt=None)


def test_the_t1_series_become_scans_with_age_sex_and_scanner(reading: CohortReading) -> None:
    scans = reading.manifest.scans.sort_values("sex").reset_index(drop=True)
    assert scans["sex"].tolist() == ["F", "M"]
    assert scans["age"].tolist() == [90, 80]  # the first is 93, by birth and study
    assert scans["scanner"].tolist() == ["Siemens Prisma 2.9T"] * 2
    assert scans["site"].nunique() == 1
    assert scans["label"].isna().all()
    assert scans["patient_id"].str.fullmatch("sub-[0-9a-f]{12}").all()
    assert scans["session_id"].str.fullmatch("ses-[0-9a-f]{12}").all()
    _note(reading, "Ages above 89 are recorded as 90: 1 scan.")


def test_everything_left_out_is_noted_by_hash_and_reason(reading: CohortReading) -> None:
    for reason in ("1 slice is missing", "a file is truncated"):
        assert re.search(r": [0-9a-f]{12}\.$", _note(reading, f"T1 series left out, {reason}"))
    for kind in ("FLAIR", "localizer", "CT"):
        assert re.search(r": [0-9a-f]{12}\.$", _note(reading, f"Series left out, {kind}"))
    files = _note(reading, "Files that belong to no series")
    assert "damaged DICOM: 1" in files
    assert "not DICOM: 2" in files
    assert sum("left out" in note for note in reading.notes) == 5


def test_the_images_are_a_bids_data_set(reading: CohortReading) -> None:
    images = reading.manifest.source
    again = read_bids_cohort(images).manifest.scans
    assert again["scan_id"].tolist() == reading.manifest.scans["scan_id"].tolist()
    assert again["path"].tolist() == reading.manifest.scans["path"].tolist()
    for scan in again.itertuples():
        load_volume(scan.path, scan_id=scan.scan_id)


def _all_bytes(folder: Path) -> bytes:
    """Every name and byte below a folder, archives unpacked too."""
    parts = []
    for path in sorted(folder.parent.rglob("*")):
        parts.append(str(path).encode())
        if path.is_file():
            content = path.read_bytes()
            parts.append(content)
            if path.suffix == ".gz":
                parts.append(gzip.decompress(content))
    return b"\n".join(parts)


def _assert_nobody_is_named(text: bytes, patients: tuple[Patient, ...] = (HANS, ROSA)) -> None:
    for patient in patients:
        for secret in patient.secrets:
            for spelling in (secret.encode(), secret.encode("utf-16-le")):
                assert spelling.lower() not in text.lower(), secret


def test_no_byte_of_what_is_written_or_said_names_a_patient(
    reading: CohortReading, tmp_path: Path
) -> None:
    reading.manifest.write(tmp_path / "manifest.csv")
    said = "\n".join([*reading.notes, repr(reading), (tmp_path / "manifest.csv").read_text()])
    _assert_nobody_is_named(said.encode())
    _assert_nobody_is_named(_all_bytes(reading.manifest.source))


def test_headers_of_the_images_hold_no_text(reading: CohortReading) -> None:
    for path in reading.manifest.scans["path"]:
        image = nib.load(path)
        for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
            assert image.header[field].item() == b"", field
        assert list(image.header.extensions) == []
        assert image.header["pixdim"][4:].tolist() == [0, 0, 0, 0] or np.all(
            image.header["pixdim"][4:] == 1
        )


def test_sidecars_hold_technical_fields_alone(reading: CohortReading) -> None:
    for path in reading.manifest.scans["path"]:
        sidecar = json.loads(Path(path.replace(".nii.gz", ".json")).read_text())
        assert sidecar["EchoTime"] == pytest.approx(0.00298)
        assert sidecar["MRAcquisitionType"] == "3D"
        assert not set(sidecar) & {"SeriesDescription", "ProtocolName", "InstitutionName"}
    fields = {"EchoTime": float("nan"), "Manufacturer": "A\nB", "PatientID": "1", "FlipAngle": 9}
    assert technical_fields(fields) == {"FlipAngle": 9}


def test_nothing_is_printed_or_logged(
    archive: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    _read(archive, tmp_path / "images")
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if "pydicom" in record.name] == []
    assert [warning for warning in recwarn if "pydicom" in str(warning.filename)] == []


PLACES = {
    "sagittal": Place(),
    "axial": Place(row=(1, 0, 0), column=(0, 1, 0), first=(-17, -22, -8)),
    "axial downwards": Place(row=(1, 0, 0), column=(0, 1, 0), first=(-17, -22, 8), step=-1.5),
    "coronal": Place(row=(1, 0, 0), column=(0, 0, -1), first=(-17, 30, 12)),
    "oblique": Place(row=(0, 0.96, 0.28), column=(0.6, 0.224, -0.768), first=(3, 5, 9)),
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "RLE"])
def test_a_marked_voxel_lies_where_dicom_puts_it(
    tmp_path: Path, place: Place, compressed: bool
) -> None:
    write_series(tmp_path / "dicom", HANS, place=place, compressed=compressed, SliceThickness=1.5)
    (path,) = _read(tmp_path / "dicom", tmp_path / "images").manifest.scans["path"]
    volume = load_volume(path, scan_id="x")
    (voxel,) = np.argwhere(volume.voxels == MARK)
    left, back, up = lps_of_voxel(place, row=7, column=9, index=5)
    assert volume.affine @ [*voxel, 1] == pytest.approx([-left, -back, up, 1], abs=1e-3)


def test_the_marked_voxel_of_a_plain_sagittal_series_by_hand(tmp_path: Path) -> None:
    # first pixel at L -20, P -10, S 30; slices 1.5 mm to the *right-handed normal* (0,1,0) x
    # (0,0,-1) = (-1,0,0); columns 1.2 mm backwards, rows 1.1 mm downwards.
    write_series(tmp_path / "dicom", HANS)
    (path,) = _read(tmp_path / "dicom", tmp_path / "images").manifest.scans["path"]
    image = nib.load(path)
    (voxel,) = np.argwhere(np.asarray(image.dataobj) == MARK)
    expected = [20 + 5 * 1.5, 10 - 9 * 1.2, 30 - 7 * 1.1, 1]
    assert image.affine @ [*voxel, 1] == pytest.approx(expected, abs=1e-4)
    assert image.header.get_zooms() == pytest.approx((1.5, 1.2, 1.1))


def test_every_voxel_is_kept_as_it_was(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", HANS, seed=7)
    (path,) = _read(tmp_path / "dicom", tmp_path / "images").manifest.scans["path"]
    stored = np.sort(np.asarray(nib.load(path).dataobj), axis=None)
    made = np.stack([pixels(index, size=32, seed=7) for index in range(24)])
    assert np.array_equal(stored, np.sort(made, axis=None))


def test_the_enhanced_format_gives_the_same_volume(tmp_path: Path) -> None:
    write_enhanced_series(tmp_path / "one" / "file", HANS)
    write_series(tmp_path / "many", HANS)
    paths = [
        _read(tmp_path / name, tmp_path / f"{name}-images").manifest.scans["path"][0]
        for name in ("one", "many")
    ]
    one, many = (load_volume(path, scan_id="x") for path in paths)
    assert np.array_equal(one.voxels, many.voxels)
    assert one.affine == pytest.approx(many.affine, abs=1e-4)


def test_an_enhanced_file_without_one_frame_misses_a_slice(tmp_path: Path) -> None:
    import pydicom

    path = write_enhanced_series(tmp_path / "dicom" / "file", HANS)
    dataset = pydicom.dcmread(path)
    size = dataset.Rows * dataset.Columns * 2
    pixel_data = dataset.PixelData
    del dataset.PerFrameFunctionalGroupsSequence[11]
    dataset.PixelData = pixel_data[: 11 * size] + pixel_data[12 * size :]
    dataset.NumberOfFrames = 23
    dataset.save_as(path)
    with pytest.raises(ManifestError, match="1 slice is missing"):
        _read(tmp_path / "dicom", tmp_path / "images")


def _technical(**values: Any) -> Technical:
    defaults: dict[str, Any] = {
        "modality": "MR",
        "sop_class": "1.2.840.10008.5.1.4.1.1.4",
        "image_type": ("ORIGINAL", "PRIMARY", "M"),
        "sequence": ("GR",),
        "description": "",
        "texts": "",
        "acquisition": "3D",
        "te_ms": 3.0,
        "ti_ms": None,
        "thickness_mm": 1.0,
        "contrast": False,
        "angiography": False,
        "rows": 256,
        "columns": 256,
        "n_declared": None,
    }
    return Technical(**{**defaults, **values})


def _identity(**values: Any) -> Identity:
    names = ("patient_id", "study_uid", "series_uid", "birth_date", "study_date", "age")
    defaults = {**dict.fromkeys(names, ""), "patient_key": "1", "institution": "", "sex": None}
    return Identity(**{**defaults, "known_patient": True, **values})


def _kind(**values: Any) -> str:
    series = DicomSeries(identity=_identity(), technical=_technical(**values), files=())
    return kind_of_series(series, T1Spec())


@pytest.mark.parametrize(
    "texts",
    [
        "t1_mprage_sag_p2_iso",
        "MPRAGE",
        "MP-RAGE REPEAT",
        "Sag 3D FSPGR",
        "Ax IR-FSPGR BRAVO",
        "3D T1 TFE",
        "T1W_3D_TFE_tra",
        "sT1W_3D_FFE",
        "t1_fl3d_sag",
        "T1 FLASH 3D 1mm",
        "Cor T1 pre-contrast",
        "T1 3D ohne Kontrast",
        "SAG IR PREP SPGR EPILEPSY",
        "Accelerated Sagittal MPRAGE",
        "head *tfl3d1_16ns",
    ],
)
def test_usual_names_of_t1_series_are_recognised(texts: str) -> None:
    assert _kind(texts=texts) == ("T1" if "ohne" not in texts else "T1 with a contrast agent")


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        ("localizer", "localizer"),
        ("AAHead_Scout_64ch", "localizer"),
        ("3 Plane Loc SSFSE", "localizer"),
        ("Survey_32ch_HeadCoil", "localizer"),
        ("FAST PILOT", "localizer"),
        ("Sag CUBE T2 FLAIR", "FLAIR"),
        ("t1_flair_tra", "FLAIR"),
        ("ep2d_diff_3scan_trace", "diffusion"),
        ("DTI 64 dir", "diffusion"),
        ("Axial DWI b1000", "diffusion"),
        ("rsfMRI_eyes_open", "functional or perfusion"),
        ("ASL_PERFUSION", "functional or perfusion"),
        ("SWI_Images", "susceptibility"),
        ("T2_star GRE", "susceptibility"),
        ("TOF_3D_multi-slab", "angiography"),
        ("t2_space_sag", "T2 or proton density"),
        ("PD T2 TSE", "T2 or proton density"),
        ("gre_field_mapping", "field map"),
        ("ASSET calibration", "calibration"),
        ("MP2RAGE_INV1", "quantitative map"),
        ("T1 MAP", "quantitative map"),
        ("t1_mprage post GD", "T1 with a contrast agent"),
        ("AX T1 3D CONTRAST", "T1 with a contrast agent"),
        ("Hans Mueller", "other contrast"),
    ],
)
def test_other_contrasts_are_told_by_their_names(texts: str, kind: str) -> None:
    assert _kind(texts=texts) == kind


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"modality": "CT"}, "CT"),
        ({"modality": "MUELLER"}, "unknown modality"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.7"}, "not an MR image"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")}, "localizer"),
        ({"image_type": ("DERIVED", "SECONDARY", "MPR")}, "derived image"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "P", "ND")}, "phase, real or imaginary part"),
        ({"image_type": ("ORIGINAL", "PRIMARY", "PHASE MAP")}, "phase, real or imaginary part"),
        ({"angiography": True}, "angiography"),
        ({"contrast": True}, "T1 with a contrast agent"),
        ({"te_ms": 25.0}, "long echo time"),
        ({"ti_ms": 2500.0}, "inversion time without T1 contrast"),
        ({"ti_ms": 160.0}, "inversion time without T1 contrast"),
        ({"sequence": ("SE", "IR")}, "spin echo"),
        ({"acquisition": "2D"}, "2-D"),
        ({"thickness_mm": 5.0}, "thick slices"),
        ({}, "T1"),
        ({"te_ms": None, "sequence": (), "acquisition": "", "thickness_mm": None}, "T1"),
    ],
)
def test_a_t1_by_name_can_still_be_something_else(values: Mapping[str, Any], kind: str) -> None:
    assert _kind(texts="t1_mprage", **values) == kind


def test_without_a_name_an_inverted_gradient_echo_is_t1() -> None:
    assert _kind(texts="head", ti_ms=900.0) == "T1"
    assert _kind(texts="head", ti_ms=900.0, acquisition="") == "other contrast"
    assert _kind(texts="head") == "other contrast"


def _stack(
    heights: list[float], *, numbers: list[int] | None = None, **technical: Any
) -> DicomSeries:
    files = tuple(
        SliceFile(
            path=Path("x"),
            uid=str(at),
            positions_mm=((3.0, 4.0, height),),
            orientations=((1.0, 0.0, 0.0, 0.0, 1.0, 0.0),),
            number=numbers[at] if numbers else None,
            truncated=False,
            stamp=(1, 1),
        )
        for at, height in enumerate(heights)
    )
    return DicomSeries(identity=_identity(), technical=_technical(**technical), files=files)


@pytest.mark.parametrize(
    ("series", "fault"),
    [
        (_stack([0, 1, 2, 3]), None),
        (_stack([3, 1, 2, 0.02]), None),
        (_stack([0, 1, 2, 5, 6]), "2 slices are missing"),
        (_stack([0, 1, 2, 3, 3]), "several images at one position"),
        (_stack([0, 1, 2, 3.3, 4.3]), "unequal distances between slices"),
        (_stack([0]), "a single slice"),
        (_stack([0, float("nan"), 2]), "slices without a valid position"),
        (_stack([0, 1, 2], numbers=[2, 3, 4]), "1 slice is missing"),
        (_stack([0, 1, 2], numbers=[1, 2, 3]), None),
        (_stack([0, 1, 2], n_declared=5), "2 slices are missing"),
    ],
)
def test_incomplete_stacks_are_told(series: DicomSeries, fault: str | None) -> None:
    assert fault_of(series) == fault


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (Place(row=(0, 0.96, 0.28), column=(0, 0.28, -0.96), first=(-50, -10, 30)), "parallel"),
        (Place(row=(0.28, 0.96, 0), first=(-50, -10, 30)), "parallel"),
        (Place(first=(-50, -7, 30)), "shifted"),
        (Place(first=(-19.95, -10, 30)), "several images at one position"),
    ],
)
def test_slices_that_do_not_fit_are_no_stack(tmp_path: Path, other: Place, says: str) -> None:
    write_series(tmp_path / "a", HANS, n_slices=20)
    write_series(tmp_path / "a" / "b", HANS, n_slices=1, place=other, series_uid=_uid(tmp_path))
    with pytest.raises(ManifestError, match=says):
        _read(tmp_path / "a", tmp_path / "images")


def _uid(folder: Path) -> str:
    import pydicom

    first = next(path for path in sorted(folder.rglob("*")) if path.is_file())
    return str(pydicom.dcmread(first).SeriesInstanceUID)


def test_echoes_of_one_series_cannot_be_told_apart(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "1", HANS)
    write_series(tmp_path / "a" / "2", HANS, EchoTime=5.5, series_uid=_uid(tmp_path), seed=1)
    with pytest.raises(ManifestError, match="several echoes"):
        _read(tmp_path / "a", tmp_path / "images")


def test_the_phase_images_of_a_series_are_set_aside(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "1", HANS)
    kind = ["ORIGINAL", "PRIMARY", "P", "ND"]
    write_series(tmp_path / "a" / "2", HANS, ImageType=kind, series_uid=_uid(tmp_path), seed=1)
    reading = _read(tmp_path / "a", tmp_path / "images")
    (path,) = reading.manifest.scans["path"]
    made = np.stack([pixels(index, size=32, seed=0) for index in range(24)])
    stored = np.asarray(nib.load(path).dataobj)
    assert np.array_equal(np.sort(stored, axis=None), np.sort(made, axis=None))
    _note(reading, "Series left out, phase")


def test_copies_of_files_are_counted_once(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", HANS)
    for path in paths[:3]:
        shutil.copy(path, path.with_name(f"copy-{path.name}"))
    reading = _read(tmp_path / "a", tmp_path / "images")
    assert "copies of another file: 3" in _note(reading, "Files that belong to no series")


def test_the_user_can_name_the_series(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "1", HANS)
    odd = {"ImageType": ["DERIVED", "PRIMARY", "M", "UNI"], "ScanningSequence": "SE"}
    write_series(tmp_path / "a" / "2", HANS, seed=1, SeriesDescription="mp2rage_UNI_Images", **odd)
    reading = _read(tmp_path / "a", tmp_path / "images", series="_uni_")
    assert len(reading.manifest.scans) == 1
    _note(reading, "Series left out, not selected by the user")
    with pytest.raises(ConfigurationError, match="not a regular expression"):
        _read(tmp_path / "a", tmp_path / "images", series="(")


def test_too_few_slices_are_refused_by_default(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HANS)
    with pytest.raises(ManifestError, match="fewer than 40 slices"):
        _read(tmp_path / "a", tmp_path / "images", t1=None)


def test_without_a_t1_the_error_says_what_there_is_and_names_nobody(tmp_path: Path) -> None:
    root = tmp_path / "Muellerkopf"
    write_series(root / "a", HANS, n_slices=3, SeriesDescription="Muellerkopf localizer")
    write_series(root / "b", HANS, n_slices=3, seed=1, Modality="CT")
    with pytest.raises(ManifestError) as caught:
        _read(root, tmp_path / "images")
    message = str(caught.value)
    assert "1 series localizer; 1 series CT" in message
    _assert_nobody_is_named(message.encode())


@pytest.mark.parametrize("content", ["text", None])
def test_a_folder_without_dicom_is_refused(tmp_path: Path, content: str | None) -> None:
    root = tmp_path / "Muellerkopf"
    root.mkdir()
    if content:
        (root / "a.dcm").write_text(content)
    with pytest.raises(ManifestError, match="no DICOM image") as caught:
        _read(root, tmp_path / "images")
    _assert_nobody_is_named(str(caught.value).encode())
    assert not (tmp_path / "images").exists()


def test_no_folder_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such folder"):
        _read(tmp_path / "none", tmp_path / "images")
    with pytest.raises(ConfigurationError, match="no output folder"):
        read_dicom_cohort(tmp_path)


@pytest.mark.parametrize(("source", "images"), [("a", "a/b"), ("a/b", "a"), ("a", "a")])
def test_images_do_not_lie_among_the_dicom_files(tmp_path: Path, source: str, images: str) -> None:
    (tmp_path / source).mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="must not contain each other"):
        _read(tmp_path / source, tmp_path / images)


@pytest.mark.parametrize("with_group_2", [True, False])
def test_files_without_a_preamble_are_read(tmp_path: Path, with_group_2: bool) -> None:
    import pydicom

    for path in write_series(tmp_path / "a", HANS):
        content = path.read_bytes()
        assert content[128:132] == b"DICM"
        path.write_bytes(content[132:])
        if not with_group_2:
            dataset = pydicom.Dataset(pydicom.dcmread(path, force=True))
            pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    assert len(_read(tmp_path / "a", tmp_path / "images").manifest.scans) == 1


def test_links_are_followed_inside_the_folder_only(tmp_path: Path) -> None:
    inside = write_series(tmp_path / "a", HANS)
    (tmp_path / "a" / "z").symlink_to(inside[0])
    outside = write_series(tmp_path / "b", ROSA)
    for path in outside:
        (tmp_path / "a" / f"link-{path.name}").symlink_to(path)
    os.mkfifo(tmp_path / "a" / "pipe")
    reading = _read(tmp_path / "a", tmp_path / "images")
    assert len(reading.manifest.scans) == 1
    files = _note(reading, "Files that belong to no series")
    assert "links that leave the folder: 24" in files
    assert "not regular files: 1" in files


def test_reading_again_converts_nothing_anew(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "1", HANS)
    changed = write_series(tmp_path / "a" / "2", ROSA, seed=1)
    first = _read(tmp_path / "a", tmp_path / "images")
    _note(first, "T1 series used: 2, 2 of them newly converted")
    before = _snapshot(tmp_path / "images")
    second = _read(tmp_path / "a", tmp_path / "images")
    _note(second, "T1 series used: 2, 0 of them newly converted")
    assert _snapshot(tmp_path / "images") == before
    pd.testing.assert_frame_equal(first.manifest.scans, second.manifest.scans)
    os.utime(changed[0], ns=(1, 1))
    _note(_read(tmp_path / "a", tmp_path / "images"), "1 of them newly converted")


def _snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("damage", ["cut", "absent", "no sidecar", "odd sidecar"])
def test_a_damaged_image_is_made_again(tmp_path: Path, damage: str) -> None:
    write_series(tmp_path / "a", HANS)
    (path,) = map(Path, _read(tmp_path / "a", tmp_path / "images").manifest.scans["path"])
    content, sidecar = path.read_bytes(), Path(str(path).replace(".nii.gz", ".json"))
    spoil: dict[str, Callable[[], object]] = {
        "cut": lambda: path.write_bytes(content[:-9]),
        "absent": path.unlink,
        "no sidecar": sidecar.unlink,
        "odd sidecar": lambda: sidecar.write_text("[1"),
    }
    spoil[damage]()
    _note(_read(tmp_path / "a", tmp_path / "images"), "1 of them newly converted")
    assert path.read_bytes() == content  # the same bytes, whenever it is made


def test_a_salt_of_ones_own_decides_the_ids(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HANS)
    ids = [
        _read(tmp_path / "a", tmp_path / name, salt=salt).manifest.scans["scan_id"][0]
        for name, salt in (("1", SALT), ("2", SALT), ("3", SALT + "!"))
    ]
    assert ids[0] == ids[1]
    assert not set(re.findall("[0-9a-f]{12}", ids[0])) & set(re.findall("[0-9a-f]{12}", ids[2]))
    assert not (tmp_path / "1.salt").exists()


def test_a_drawn_salt_is_kept_from_others_and_used_again(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HANS)
    first = _read(tmp_path / "a", tmp_path / "images", salt=None)
    path = tmp_path / "images.salt"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text().strip()) == 64
    _note(first, f"was generated and is stored in {path}")
    path.chmod(0o644)
    second = _read(tmp_path / "a", tmp_path / "images", salt=None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert second.manifest.scans["scan_id"].tolist() == first.manifest.scans["scan_id"].tolist()
    assert not any(path.read_text().strip() in note for note in (*first.notes, *second.notes))
    other, _ = file_salt(tmp_path / "other.salt")
    assert other != path.read_text().strip()


def test_another_salt_for_the_same_images_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HANS)
    _read(tmp_path / "a", tmp_path / "images")
    with pytest.raises(ConfigurationError, match="another salt") as caught:
        _read(tmp_path / "a", tmp_path / "images", salt="another salt of the user")
    assert "of the user" not in str(caught.value)


def test_a_data_set_of_others_is_not_written_into(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HANS)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "dataset_description.json").write_text('{"Name": "theirs"}')
    with pytest.raises(ConfigurationError, match="another salt"):
        _read(tmp_path / "a", tmp_path / "images")


def test_a_short_salt_is_refused_without_repeating_it(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HANS)
    with pytest.raises(ConfigurationError, match="too short") as caught:
        _read(tmp_path / "a", tmp_path / "images", salt="Pfeffer")
    assert "Pfeffer" not in str(caught.value)


def test_hashes_are_the_hmac_of_kind_and_value() -> None:
    # python -c "import hmac; print(hmac.new(b'0123456789abcdef', b'patient\n42', 'sha256')...)"
    own = Pseudonyms("0123456789abcdef")
    assert own.of("patient", "42") == "9d2b36e6b669"
    assert own.of("study", "42") != own.of("patient", "42")


@pytest.mark.parametrize(
    ("age", "birth", "study", "expected"),
    [
        ("072Y", "", "", 72),
        ("018M", "", "", 1),
        ("089Y", "", "", 89),
        ("090Y", "", "", 90),
        ("101Y", "", "", 90),
        ("072Y", "19000101", "20200101", 72),
        ("", "19500615", "20200614", 69),
        ("", "19500615", "20200615", 70),
        ("", "1950-06-15", "20200615", 70),
        ("", "18000101", "20200101", None),
        ("", "20210101", "20200101", None),
        ("", "19500615", "", None),
        ("", "19509999", "20200101", None),
        ("old", "", "", None),
        ("999Y", "", "", None),
    ],
)
def test_ages_are_whole_years_and_capped(
    age: str, birth: str, study: str, expected: int | None
) -> None:
    assert age_years(_identity(age=age, birth_date=birth, study_date=study)) == expected


def _labels(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text)
    return path


def test_labels_are_joined_by_the_patients_id(archive: Path, tmp_path: Path) -> None:
    table = _labels(
        tmp_path, "patient_id,label\nKH-471133,AD\n998877665, CN\nUNKNOWN-7,AD\nUNKNOWN-8,CN\n"
    )
    reading = _read(archive, tmp_path / "images", labels_table=table)
    scans = reading.manifest.scans
    assert dict(zip(scans["sex"], scans["label"], strict=True)) == {"M": "AD", "F": "CN"}
    _note(reading, "2 patients in the label table but not in the folder.")
    assert not any("UNKNOWN" in note for note in reading.notes)


def test_ids_that_lost_their_zeros_are_proposed_by_row_not_guessed(tmp_path: Path) -> None:
    padded = Patient(**{**vars(HANS), "patient_id": "0007312"})
    write_series(tmp_path / "a", padded)
    table = _labels(tmp_path, "patient_id,label\n9,CN\n7312,AD\n")
    with pytest.raises(ManifestError) as caught:
        _read(tmp_path / "a", tmp_path / "images", labels_table=table)
    said = str(caught.value)
    assert "row 3, column patient_id: patient ids differ" in said
    assert "--pad-ids" in said
    assert "7312" not in said
    assert not (tmp_path / "images").exists()
    reading = _read(tmp_path / "a", tmp_path / "images", labels_table=table, pad_ids=True)
    assert reading.manifest.labels == ("AD",)
    _note(reading, "labels.csv: ids matched to the headers")
    assert not any("7312" in note for note in reading.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,label\nKH-471133,AD\n", "row 1, column patient_id: the column is missing"),
        ("KH-471133,AD\nKH-471133,AD\n", "row 1, column label: the column is missing"),
        ("KH-471133,KH-471133\n", "the column is missing"),
        ("patient_id,label\nKH-471133,AD\nKH-471133,CN\n", "row 3, column label: two labels"),
        ("patient_id,label\nKH-471133,#REF!\n", "row 2, column label: a formula"),
        ("patient_id,label\n,AD\n", "row 2, column patient_id: the cell is empty"),
        (
            "patient_id,label\nKH-471133\n",
            "row 2: the row and the header have different numbers of cells",
        ),
        ("patient_id;label\nKH-471133;AD\n", "semicolons"),
        ("", "the table is empty"),
    ],
)
def test_faults_of_the_labels_name_rows_but_no_ids(
    archive: Path, tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        _read(archive, tmp_path / "images", labels_table=_labels(tmp_path, text))
    assert says in str(caught.value)
    _assert_nobody_is_named(str(caught.value).encode())


def test_sessions_of_one_patient_stay_together(tmp_path: Path) -> None:
    later = Patient(**{**vars(HANS), "study_date": "20220301", "age": "", "study_uid": "1.2.3.4"})
    write_series(tmp_path / "a" / "1", HANS)
    write_series(tmp_path / "a" / "2", later, seed=1)
    scans = _read(tmp_path / "a", tmp_path / "images").manifest.scans
    assert scans["patient_id"].nunique() == 1
    assert scans["session_id"].nunique() == 2
    assert sorted(scans["age"]) == [80, 82]


def test_two_people_under_one_id_are_noted(tmp_path: Path) -> None:
    other = Patient(**{**vars(ROSA), "patient_id": HANS.patient_id})
    write_series(tmp_path / "a" / "1", HANS)
    write_series(tmp_path / "a" / "2", other, seed=1)
    reading = _read(tmp_path / "a", tmp_path / "images")
    _note(reading, "perhaps two people with one id: sub-")
    assert reading.manifest.scans["sex"].isna().all()


def test_patients_without_an_id_are_told_apart_by_name_and_birth(tmp_path: Path) -> None:
    for at, patient in enumerate((HANS, ROSA, HANS)):
        unnamed = Patient(**{**vars(patient), "patient_id": ""})
        write_series(tmp_path / "a" / str(at), unnamed, seed=at)
    reading = _read(tmp_path / "a", tmp_path / "images")
    assert sorted(reading.manifest.scans["patient_id"].value_counts()) == [1, 2]
    note = _note(reading, "Patients without an id")
    _assert_nobody_is_named(note.encode(), (Patient(**{**vars(HANS), "patient_id": "none"}),))


def test_one_scan_under_two_patients_is_refused_without_naming_them(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "1", HANS)
    write_series(tmp_path / "a" / "2", ROSA)
    with pytest.raises(ManifestError, match="one file under two patients") as caught:
        _read(tmp_path / "a", tmp_path / "images")
    _assert_nobody_is_named(str(caught.value).encode())


def test_a_conversion_that_fails_or_hangs_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "a" / "1", HANS)
    for script, says in (
        ("exit 3", "dcm2niix cannot convert it"),
        ("sleep 60", "dcm2niix took more than 0.2 s"),
        ('for last; do :; done; echo > "$(dirname "$last")/out/image.nii"', "a damaged volume"),
        (
            'cd "$(dirname "$0")"; for last; do :; done; out="$(dirname "$last")/out"; '
            'echo > "$out/a.nii"; echo > "$out/b.nii"',
            "several volumes",
        ),
    ):
        fake = tmp_path / "fake-converter"
        fake.write_text(f"#!/bin/sh\necho Muellerkopf\n{script}\n")
        fake.chmod(0o755)
        monkeypatch.setattr("dcm2niix.bin", str(fake))
        timeout_s = 0.2 if "sleep" in script else 20
        with pytest.raises(ManifestError, match=re.escape(says)) as caught:
            _read(tmp_path / "a", tmp_path / "images", timeout_s=timeout_s)
        _assert_nobody_is_named(str(caught.value).encode())
    assert not list((tmp_path / "images").rglob("*.nii*"))
    monkeypatch.setattr("dcm2niix.bin", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="not installed"):
        _read(tmp_path / "a", tmp_path / "images")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ("shape", "different shapes"),
        ("place", "different positions"),
        ("flipped", "different positions"),
    ],
)
def test_a_volume_that_contradicts_its_headers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, says: str
) -> None:
    import subprocess

    write_series(tmp_path / "a", HANS)
    run = subprocess.run

    def spoilt(arguments: list[str], **options: Any) -> Any:
        done = run(arguments, **options)
        path = Path(arguments[-2]) / "image.nii"
        image = nib.load(path)
        voxels, affine = np.asarray(image.dataobj).copy(), image.affine.copy()
        if changed == "shape":
            voxels = voxels[1:]
        elif changed == "place":
            affine[0, 3] += 2
        else:
            affine[:3, 0] *= -1
        nib.save(nib.Nifti1Image(voxels, affine), path)
        return done

    monkeypatch.setattr("mri_transfer.cohorts.readers.dicom.convert.subprocess.run", spoilt)
    with pytest.raises(ManifestError, match=says):
        _read(tmp_path / "a", tmp_path / "images")


def test_files_of_every_kind_can_lie_in_the_folder(tmp_path: Path) -> None:
    import pydicom.data

    # pydicom ships odd and broken files of all modalities: none of them stops the reading.
    folder = Path(pydicom.data.__file__).parent / "test_files"
    shutil.copytree(folder, tmp_path / "a" / "odd", symlinks=True)
    write_series(tmp_path / "a" / "1", HANS)
    reading = _read(tmp_path / "a", tmp_path / "images")
    assert len(reading.manifest.scans) == 1
    assert "damaged DICOM" in _note(reading, "Files that belong to no series")
