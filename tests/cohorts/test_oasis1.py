"""The reader of OASIS-1: discs in their true layout, labels by CDR, images with orientation."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from mri_transfer.cohorts.mapping.mapping import read_mapping
from mri_transfer.cohorts.readers.oasis1.clinical import choose, read_clinical_table
from mri_transfer.cohorts.readers.oasis1.reader import read_oasis1_cohort
from mri_transfer.errors import ConfigurationError, ManifestError
from mri_transfer.scans.volumes import check_header, load_volume
from tests.phantoms import asymmetric_phantom

#: Small grids: voxels in Talairach space run left-right, to the front, up; raw ones to the front,
#: up, and from the right to the left.
T88_SHAPE, RAW_SHAPE = (18, 20, 19), (20, 19, 18)

COLUMNS = ["ID", "M/F", "Hand", "Age", "Educ", "SES", "MMSE", "CDR", "eTIV", "nWBV", "ASF", "Delay"]
ROWS = [
    "OAS1_0001_MR1,F,R,74,2.0,3.0,29.0,0.0,1344,0.743,1.306,",
    "OAS1_0002_MR1,M,R,55,4.0,1.0,29.0,0.5,1147,0.81,1.531,",
    "OAS1_0003_MR1,F,R,73,4.0,3.0,27.0,1.0,1454,0.708,1.207,",
    "OAS1_0004_MR1,M,R,28,,,,,1588,0.803,1.105,",
    "OAS1_0042_MR1,M,R,80,1.0,4.0,21.0,2.0,1588,0.703,1.105,",
    "OAS1_0042_MR2,M,R,80,,,,,1590,0.702,1.104,40.0",
    "OAS1_0050_MR1,F,R,33,1.0,4.0,21.0,0.0,1588,0.703,1.105,",
]


def write_pair(path: Path, voxels: npt.NDArray[np.generic]) -> None:
    """Write an Analyze 7.5 pair, big-endian int16 with a fourth axis, as on the discs."""
    header: Any = nib.AnalyzeHeader(endianness=">")
    header.set_data_dtype(">i2")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.AnalyzeImage(voxels.astype(">i2")[..., np.newaxis], None, header), path)
    path.with_suffix(".mat").unlink(missing_ok=True)


def write_session(disc: Path, name: str, *, n: int = 4, seed: int = 0) -> Path:
    """Write a session with all that a disc holds of it."""
    folder = disc / name
    for number in range(1, n + 1):
        write_pair(folder / "RAW" / f"{name}_mpr-{number}_anon.hdr", np.ones((4, 4, 4)))
        (folder / "RAW" / f"{name}_mpr-{number}_anon_sag_66.gif").write_bytes(b"GIF89a")
    stem, processed = f"{name}_mpr_n{n}_anon", folder / "PROCESSED" / "MPRAGE"
    whole = asymmetric_phantom(T88_SHAPE, seed=seed)
    write_pair(processed / "T88_111" / f"{stem}_111_t88_gfc.hdr", whole)
    write_pair(processed / "T88_111" / f"{stem}_111_t88_masked_gfc.hdr", whole * (whole > 1500))
    write_pair(processed / "T88_111" / "t4_files" / f"{name}_to_T88.hdr", np.ones((4, 4, 4)))
    write_pair(
        processed / "SUBJ_111" / f"{stem}_sbj_111.hdr", asymmetric_phantom(RAW_SHAPE, seed=seed)
    )
    write_pair(folder / "FSL_SEG" / f"{stem}_111_t88_masked_gfc_fseg.hdr", whole > 2000)
    (folder / f"{name}.xml").write_text("<xnat/>", encoding="utf-8")
    (folder / f"{name}.txt").write_text(f"SESSION ID:\t{name}\n", encoding="utf-8")
    return folder


def write_table(path: Path, rows: Sequence[str] = ROWS) -> Path:
    path.write_text("\r\n".join([",".join(COLUMNS), *rows, ""]), encoding="utf-8-sig")
    return path


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two discs with six sessions, one of them without the voxels of its masked volume."""
    root = tmp_path_factory.mktemp("oasis1") / "discs"
    write_session(root / "disc1", "OAS1_0001_MR1", seed=1)
    write_session(root / "disc1", "OAS1_0002_MR1", seed=2, n=3)
    broken = write_session(root / "disc1", "OAS1_0003_MR1", seed=3)
    next(broken.glob("PROCESSED/MPRAGE/T88_111/*masked_gfc.img")).unlink()
    write_session(root / "disc2", "OAS1_0004_MR1", seed=4)
    write_session(root / "disc2", "OAS1_0042_MR1", seed=5)
    write_session(root / "disc2", "OAS1_0042_MR2", seed=6)
    write_table(root / "oasis_cross-sectional.csv")
    return root


@pytest.fixture(autouse=True)
def _unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing hundreds of small images to the disk takes longer than everything else here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def discs(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "discs"))


def _masked(discs: Path, name: str, suffix: str) -> Path:
    (found,) = discs.glob(f"*/{name}/PROCESSED/MPRAGE/T88_111/*_t88_masked_gfc{suffix}")
    return found


def _noted(notes: Sequence[str], *parts: str) -> bool:
    return any(all(part in note for part in parts) for note in notes)


class TestManifest:
    def test_patients_sessions_labels_and_covariates(self, discs: Path, tmp_path: Path) -> None:
        reading = read_oasis1_cohort(discs, images=tmp_path / "images")
        scans = reading.manifest.scans
        assert scans["scan_id"].tolist() == [
            "OAS1_0001_MR1",
            "OAS1_0002_MR1",
            "OAS1_0004_MR1",
            "OAS1_0042_MR1",
            "OAS1_0042_MR2",
        ]
        assert scans["patient_id"].tolist()[3:] == ["OAS1_0042", "OAS1_0042"]
        assert scans["session_id"].tolist()[3:] == ["MR1", "MR2"]
        assert scans["label"].fillna("none").tolist() == ["CN", "AD", "none", "AD", "none"]
        assert scans["age"].tolist() == [74, 55, 28, 80, 80]
        assert scans["sex"].tolist() == list("FMMMM")
        assert reading.manifest.covariates[4:] == (
            "education",
            "ses",
            "mmse",
            "cdr",
            "etiv_cm3",
            "nwbv",
            "asf",
            "delay_days",
        )
        assert scans["delay_days"].tolist()[-1] == 40
        assert reading.manifest.source == discs
        image = Path("sub-OAS10042", "ses-MR2", "anat")
        name = "sub-OAS10042_ses-MR2_space-Talairach_desc-brain_T1w.nii.gz"
        assert scans["path"].iloc[-1] == str(tmp_path / "images" / image / name)

    def test_what_is_left_out_and_what_is_assumed_is_noted(self, discs: Path) -> None:
        notes = read_oasis1_cohort(discs).notes
        assert _noted(notes, "OAS1_0003_MR1 is left out", "masked_gfc.img is missing")
        assert _noted(
            notes, "1 session in the clinical table but not in the folder: OAS1_0050_MR1."
        )
        assert _noted(notes, "not assessed at this session but at another: OAS1_0042_MR2.")
        assert _noted(notes, "2 of 5 scans have no label")
        assert _noted(notes, "does not record which side")
        assert _noted(notes, "as the grid is not 176 x 208 x 176")
        assert _noted(notes, "5 volumes converted to NIfTI, 0 already there.")

    def test_an_assessed_repeat_that_contradicts_is_refused_with_its_rows(
        self, discs: Path
    ) -> None:
        rows = [row.replace("80,,,,,1590", "80,,,,0.0,1590") for row in ROWS]
        write_table(discs / "oasis_cross-sectional.csv", rows)
        with pytest.raises(ManifestError, match=r"cross-sectional.csv.*\n.*row 7.*label") as caught:
            read_oasis1_cohort(discs)
        assert "AD (row 6), CN (row 7)" in str(caught.value)

    def test_the_rule_of_the_label_can_be_changed(self, discs: Path, tmp_path: Path) -> None:
        shipped = Path(__file__).parents[2] / "data_manifests" / "oasis1.toml"
        text = shipped.read_text(encoding="utf-8")
        own = tmp_path / "own.toml"
        own.write_text(
            text.replace(
                '"AD", when = { CDR = { above = 0 }', '"AD", when = { CDR = { above = 0.5 }'
            ).replace("[labels]", '[labels]\nother = "MCI"'),
            encoding="utf-8",
        )
        labels = read_oasis1_cohort(discs, mapping=own).manifest.scans["label"]
        assert labels.fillna("none").tolist() == ["CN", "MCI", "none", "AD", "none"]

    def test_age_limits_include_both_ends_and_are_noted(self, discs: Path) -> None:
        reading = read_oasis1_cohort(discs, min_age=55, max_age=74)
        assert reading.manifest.scans["age"].tolist() == [74, 55]
        assert _noted(
            reading.notes,
            "is not known to be at least 55 and at most 74 years old",
            "OAS1_0004_MR1",
        )

    def test_a_session_without_a_row_has_no_label_and_meets_no_age_limit(self, discs: Path) -> None:
        write_table(discs / "oasis_cross-sectional.csv", ROWS[:1])
        reading = read_oasis1_cohort(discs)
        assert reading.manifest.scans["label"].count() == 1
        assert _noted(reading.notes, "not in the clinical table: OAS1_0002_MR1, OAS1_0003_MR1")
        assert len(read_oasis1_cohort(discs, min_age=1).manifest.scans) == 1

    def test_without_a_table_all_labels_are_missing(self, discs: Path) -> None:
        (discs / "oasis_cross-sectional.csv").unlink()
        reading = read_oasis1_cohort(discs)
        assert reading.manifest.scans["label"].isna().all()
        assert _noted(reading.notes, "No clinical table")
        with pytest.raises(ConfigurationError, match="needs the clinical table"):
            read_oasis1_cohort(discs, selection="hon_khan_2017")

    def test_the_workbook_gives_what_the_text_gives(self, discs: Path) -> None:
        import pandas as pd

        expected = read_oasis1_cohort(discs)
        table = discs / "oasis_cross-sectional.csv"
        book = discs / "oasis_cross-sectional.xlsx"
        pd.read_csv(table).to_excel(book, index=False)
        table.unlink()
        reading = read_oasis1_cohort(discs)
        assert reading.manifest.scans.equals(expected.manifest.scans)
        named = book.rename(discs / "elsewhere.xlsx")
        assert read_oasis1_cohort(discs, clinical=named).manifest.scans.equals(
            expected.manifest.scans
        )

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ("OAS1_0001_MR1,F,R,74,,,,0,1,1,1,", "two rows about one session"),
            ("OAS1_77,F,R,74,,,,0,1,1,1,", "does not match"),
            (",F,R,74,,,,0,1,1,1,", "has no patient and session"),
            ("OAS1_0009_MR1,F,R,74,,,,demented,1,1,1,", "'demented' in 1 row"),
            ("OAS1_0009_MR1,F,R", "different numbers of cells"),
        ],
    )
    def test_a_faulty_table_is_refused_with_the_row(self, discs: Path, row: str, says: str) -> None:
        write_table(discs / "oasis_cross-sectional.csv", [*ROWS, row])
        with pytest.raises(ManifestError) as caught:
            read_oasis1_cohort(discs)
        assert says in str(caught.value)
        assert "row 9" in str(caught.value)


class TestLayouts:
    @pytest.mark.parametrize(
        "arrange",
        [
            lambda discs: discs / "disc1",
            lambda discs: _flattened(discs, sessions=True),
            lambda discs: _flattened(discs, sessions=False),
            lambda discs: discs.rename(discs.with_name("a b [c]")),
        ],
        ids=["one disc", "sessions side by side", "files side by side", "odd name"],
    )
    def test_discs_may_be_arranged_in_any_way(
        self, discs: Path, tmp_path: Path, arrange: Callable[[Path], Path]
    ) -> None:
        root = arrange(discs)
        reading = read_oasis1_cohort(root, images=tmp_path / "images")
        scans = reading.manifest.scans.set_index("scan_id")["label"]
        assert scans["OAS1_0001_MR1"] == "CN"
        assert scans["OAS1_0002_MR1"] == "AD"
        assert _noted(reading.notes, "OAS1_0003_MR1 is left out")

    def test_a_folder_without_sessions_is_refused(self, discs: Path, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match="no such folder"):
            read_oasis1_cohort(tmp_path / "none")
        (tmp_path / "empty").mkdir()
        with pytest.raises(ManifestError, match=r"no OASIS-1 session.*disc1/OAS1_0001_MR1"):
            read_oasis1_cohort(tmp_path / "empty")
        (tmp_path / "empty" / "disc1").symlink_to(discs / "disc1")
        with pytest.raises(ManifestError, match=r"links to folders.*disc1"):
            read_oasis1_cohort(tmp_path / "empty")


def _flattened(discs: Path, *, sessions: bool) -> Path:
    flat = discs.with_name("flat")
    flat.mkdir()
    if sessions:
        for folder in discs.glob("disc*/*"):
            folder.rename(flat / folder.name)
    else:
        for file in discs.glob("disc*/*/PROCESSED/MPRAGE/T88_111/*_gfc.*"):
            file.rename(flat / file.name)
    shutil.copy(discs / "oasis_cross-sectional.csv", flat)
    return flat


def _cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])


def _patch(path: Path, at: int, data: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:at] + data + content[at + len(data) :])


class TestBadSessions:
    @pytest.mark.parametrize(
        ("spoil", "says"),
        [
            (lambda hdr, img: hdr.unlink(), "masked_gfc.hdr is missing"),
            (lambda hdr, img: (hdr.unlink(), img.unlink()), "no file *_111_t88_masked"),
            (lambda hdr, img: _cut(hdr, 100), "truncated (found 100 bytes"),
            (lambda hdr, img: _cut(img, 100), "truncated (found 100 bytes; expected 13680)"),
            (lambda hdr, img: _patch(hdr, 0, b"\0\0\0\0"), "is not an Analyze header"),
            (lambda hdr, img: _patch(hdr, 344, b"ni1\0"), "is a NIfTI header"),
            (lambda hdr, img: _patch(hdr, 70, b"\0\x80"), "not real scalars"),
            (lambda hdr, img: _patch(hdr, 70, b"\x7f\x7f"), "unknown voxel type"),
            (lambda hdr, img: _patch(hdr, 48, b"\0\2"), "one 3-D volume of plausible size"),
            (lambda hdr, img: _patch(hdr, 42, b"\x7f\xff\x7f\xff\x7f\xff"), "of plausible size"),
            (lambda hdr, img: _patch(hdr, 108, b"\xff\x80\0\0"), "impossible voxel offset"),
            (lambda hdr, img: shutil.copy(img, img.with_name(f"x{img.name}")), None),
            (
                lambda hdr, img: shutil.copy(img, img.with_name(img.name.replace("_n4_", "_n3_"))),
                "2 files for one volume",
            ),
            (
                lambda hdr, img: img.rename(img.with_name(img.name.replace("_n4_", "_n3_"))),
                "do not belong together",
            ),
            (
                lambda hdr, img: [
                    file.rename(file.with_name(file.name.replace("0001", "0002")))
                    for file in (hdr, img)
                ],
                "no file",
            ),
        ],
    )
    def test_one_bad_session_is_named_and_does_not_stop_the_others(
        self, discs: Path, spoil: Callable[[Path, Path], object], says: str | None
    ) -> None:
        spoil(*(_masked(discs, "OAS1_0001_MR1", suffix) for suffix in (".hdr", ".img")))
        reading = read_oasis1_cohort(discs)
        kept = reading.manifest.scans["scan_id"].tolist()
        assert "OAS1_0042_MR2" in kept
        assert ("OAS1_0001_MR1" in kept) == (says is None)
        if says is not None:
            assert _noted(reading.notes, "OAS1_0001_MR1 is left out", says)

    def test_a_file_in_the_folder_of_another_session_is_left_out(self, discs: Path) -> None:
        for suffix in (".hdr", ".img"):
            path = _masked(discs, "OAS1_0001_MR1", suffix)
            other = _masked(discs, "OAS1_0004_MR1", suffix).parent
            path.rename(other / path.name)
        reading = read_oasis1_cohort(discs)
        assert _noted(reading.notes, "OAS1_0001_MR1 is left out", "another session, OAS1_0004_MR1")

    def test_a_link_out_of_the_folder_is_not_followed(self, discs: Path, tmp_path: Path) -> None:
        path = _masked(discs, "OAS1_0001_MR1", ".img")
        path.rename(tmp_path / "elsewhere.img")
        path.symlink_to(tmp_path / "elsewhere.img")
        reading = read_oasis1_cohort(discs)
        assert _noted(reading.notes, "OAS1_0001_MR1 is left out", "leaves the folder")

    def test_no_usable_session_is_refused_with_all_reasons(self, discs: Path) -> None:
        for path in discs.glob("disc*/*/PROCESSED/MPRAGE/T88_111/*masked_gfc.img"):
            _cut(path, 7)
        with pytest.raises(ManifestError) as caught:
            read_oasis1_cohort(discs)
        assert len(caught.value.faults) == 6
        with pytest.raises(ManifestError, match="no session meets"):
            read_oasis1_cohort(discs, min_age=100)


class TestImages:
    @pytest.mark.parametrize(
        ("volume", "code", "affine"),
        [
            ("t88_masked", 3, [[1, 0, 0, -85], [0, 1, 0, -110], [0, 0, 1, -73], [0, 0, 0, 1]]),
            ("t88", 3, [[1, 0, 0, -85], [0, 1, 0, -110], [0, 0, 1, -73], [0, 0, 0, 1]]),
            ("raw", 2, [[0, 0, -1, 80], [1, 0, 0, -128], [0, 1, 0, -128], [0, 0, 0, 1]]),
        ],
    )
    def test_voxels_keep_their_values_and_get_their_place(
        self, discs: Path, volume: Any, code: int, affine: list[list[float]]
    ) -> None:
        path = read_oasis1_cohort(discs, volume=volume).manifest.scans["path"].iloc[0]
        image: Any = nib.load(path)
        whole = asymmetric_phantom(T88_SHAPE, seed=1)
        expected = {
            "t88_masked": whole * (whole > 1500),
            "t88": whole,
            "raw": asymmetric_phantom(RAW_SHAPE, seed=1),
        }[volume]
        assert np.array_equal(np.asarray(image.dataobj), expected)
        assert image.get_data_dtype() == np.dtype("<i2")
        for place, kind in ((image.get_sform, "sform"), (image.get_qform, "qform")):
            found, found_code = place(coded=True)
            assert found_code == code, kind
            assert np.allclose(found, affine, atol=1e-6), kind

    def test_the_pipeline_reads_them_in_the_right_orientation(self, discs: Path) -> None:
        for volume, orientation in (("t88", "RAS"), ("raw", "ASL")):
            scans = read_oasis1_cohort(discs, volume=volume).manifest.scans  # type: ignore[arg-type]
            header = check_header(scans["path"].iloc[0], scan_id="s")
            assert header.orientation == orientation
            loaded = load_volume(scans["path"].iloc[0], scan_id="s")
            stored = asymmetric_phantom(T88_SHAPE, seed=1)
            if volume == "raw":
                stored = asymmetric_phantom(RAW_SHAPE, seed=1).transpose(2, 0, 1)[::-1]
            assert np.array_equal(loaded.voxels, stored)

    def test_the_commissure_lies_at_the_origin(self, discs: Path) -> None:
        image: Any = nib.load(read_oasis1_cohort(discs).manifest.scans["path"].iloc[0])
        assert (image.affine @ [85, 110, 73, 1]).tolist() == [0, 0, 0, 1]

    def test_a_second_reading_writes_nothing_and_the_same_files_give_the_same_bytes(
        self, discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = tmp_path / "one", tmp_path / "two"
        read_oasis1_cohort(discs, images=first)
        before = {path: path.stat().st_mtime_ns for path in first.rglob("*.*")}
        reading = read_oasis1_cohort(discs, images=first)
        assert {path: path.stat().st_mtime_ns for path in first.rglob("*.*")} == before
        assert _noted(reading.notes, "0 volumes converted to NIfTI, 5 already there.")
        monkeypatch.setattr(time, "time", lambda: 1e9)
        read_oasis1_cohort(discs, images=second)
        for path in before:
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()

    def test_a_changed_source_a_changed_image_and_a_lost_record_are_made_good(
        self, discs: Path, tmp_path: Path
    ) -> None:
        images = tmp_path / "images"
        paths = read_oasis1_cohort(discs, images=images).manifest.scans["path"]
        content = {path: Path(path).read_bytes() for path in paths}
        write_pair(_masked(discs, "OAS1_0001_MR1", ".hdr"), asymmetric_phantom(T88_SHAPE, seed=99))
        Path(paths[1]).write_bytes(gzip.compress(b"something else"))
        Path(paths[2].replace(".nii.gz", ".json")).write_text("[", encoding="utf-8")
        reading = read_oasis1_cohort(discs, images=images)
        assert _noted(reading.notes, "3 volumes converted to NIfTI, 2 already there.")
        assert Path(paths[0]).read_bytes() != content[paths[0]]
        assert [Path(path).read_bytes() == content[path] for path in paths[1:]] == [True] * 4

    def test_every_image_is_recorded_with_its_sources(self, discs: Path) -> None:
        path = Path(read_oasis1_cohort(discs).manifest.scans["path"].iloc[0])
        record = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
        assert record["Volume"] == "t88_masked"
        assert record["SkullStripped"] is True
        sources = [discs / source for source in record["Sources"]]
        assert sources == [_masked(discs, "OAS1_0001_MR1", suffix) for suffix in (".hdr", ".img")]
        digests = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
        assert record["SourcesSha256"] == digests
        assert record["Sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_a_folder_that_cannot_be_written_is_refused(self, discs: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(ConfigurationError, match="image folder cannot be written"):
            read_oasis1_cohort(discs, images=tmp_path / "file")

    def test_progress_counts_the_chosen_sessions(self, discs: Path) -> None:
        seen: list[tuple[int, int]] = []
        read_oasis1_cohort(discs, max_age=60, progress=lambda *counts: seen.append(counts))
        assert seen == [(1, 2), (2, 2)]

    def test_reading_prints_and_logs_nothing(
        self, discs: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        _patch(_masked(discs, "OAS1_0001_MR1", ".hdr"), 80, b"\0\0\0\0")  # no voxel size
        read_oasis1_cohort(discs)
        assert capfd.readouterr() == ("", "")
        assert caplog.records == []


class TestSelection:
    def _table(self, tmp_path: Path, people: Mapping[str, tuple[float, float | str]]) -> Path:
        rows = [f"{name},F,R,{age},,,,{cdr},1,1,1," for name, (age, cdr) in people.items()]
        return write_table(tmp_path / "table.csv", rows)

    def test_ties_are_broken_by_number_and_told(self, tmp_path: Path) -> None:
        people: dict[str, tuple[float, float | str]] = {
            f"OAS1_{number:04d}_MR1": (70.0, 1.0) for number in range(1, 101)
        }
        people |= {f"OAS1_{number:04d}_MR1": (80.0, 0.0) for number in range(300, 399)}
        people |= {f"OAS1_{number:04d}_MR1": (60.0, 0.0) for number in (203, 201, 202)}
        people |= {
            "OAS1_0001_MR2": (70.0, ""),
            "OAS1_0400_MR1": (99.0, ""),
            "OAS1_0204_MR1": (59, 0),
        }
        table = read_clinical_table(self._table(tmp_path, people), read_mapping("oasis1"))
        chosen, notes = choose(
            table, list(table.rows), selection="hon_khan_2017", min_age=None, max_age=None
        )
        numbers = {int(key[0].split("_")[1]) for key in chosen}
        assert numbers == {*range(1, 101), *range(300, 399), 201}
        assert len(chosen) == 200
        assert _noted(notes, "age of 60 years", "(OAS1_0201_MR1)", "OAS1_0202_MR1, OAS1_0203_MR1")
        assert not _noted(notes, "the table is incomplete")

    def test_a_part_of_the_table_is_told(self, discs: Path) -> None:
        reading = read_oasis1_cohort(discs, selection="hon_khan_2017")
        assert reading.manifest.scans["scan_id"].tolist() == [
            "OAS1_0001_MR1",
            "OAS1_0002_MR1",
            "OAS1_0042_MR1",
        ]
        assert _noted(reading.notes, "the table is incomplete")
        assert _noted(reading.notes, "of the selection that are not in the folder: OAS1_0050_MR1.")

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"volume": "masked"}, "no such volume (found masked; expected t88_masked, t88, raw)"),
            ({"selection": "best"}, "no such selection"),
            ({"min_age": 70, "max_age": 60}, "exclude everybody"),
            ({"mapping": "oasis9"}, "cannot read the mapping"),
        ],
    )
    def test_options_that_cannot_be_meant_are_refused(
        self, discs: Path, options: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(ConfigurationError) as caught:
            read_oasis1_cohort(discs, **options)
        assert says in str(caught.value)

    @pytest.mark.data
    def test_the_published_selection_on_the_real_table(self, shared_data: Path) -> None:
        path = shared_data / "oasis1_clinical.csv"
        table = read_clinical_table(path, read_mapping("oasis1"))
        labels = [row.cells["label"] for row in table.rows.values()]
        assert (labels.count("AD"), labels.count("CN"), labels.count(None)) == (100, 135, 201)
        chosen, notes = choose(
            table, list(table.rows), selection="hon_khan_2017", min_age=None, max_age=None
        )
        with path.open(newline="") as stream:
            real = {row["ID"]: row for row in csv.DictReader(stream)}
        cdr = [float(real["_".join(key)]["CDR"]) for key in chosen]
        assert {value: cdr.count(value) for value in set(cdr)} == {
            0.0: 100,
            0.5: 70,
            1.0: 28,
            2.0: 2,
        }
        controls = {"_".join(key) for key, value in zip(chosen, cdr, strict=True) if value == 0}
        ages = sorted(
            (float(row["Age"]) for row in real.values() if row["CDR"] == "0.0"), reverse=True
        )
        assert sorted((float(real[name]["Age"]) for name in controls), reverse=True) == ages[:100]
        assert _noted(notes, "the 100 oldest of 135", "the youngest is 59")
        assert _noted(notes, "(OAS1_0289_MR1, OAS1_0372_MR1)", "OAS1_0381_MR1 left out")


def test_the_working_folder_does_not_matter(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = read_oasis1_cohort(os.path.relpath(discs), images="images")
    assert relative.manifest.scans["path"].str.startswith(str(tmp_path / "images")).all()
