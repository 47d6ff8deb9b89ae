"""Manifest: what is accepted, how every fault is told, and that writing loses nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mri_transfer.cohorts.manifest.manifest import (
    BASE_COLUMNS,
    Manifest,
    make_manifest,
    read_manifest,
)
from mri_transfer.cohorts.manifest.text_table import (
    TextTable,
    clean_cell,
    parse_number,
    read_text_table,
)
from mri_transfer.errors import Fault, ManifestError
from tests.gallery import write_table_folder

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Folder with the files a.nii to f.nii, all different, in the subfolder scans."""
    return write_table_folder(tmp_path / "cohort")


def _write(folder: Path, text: str, name: str = "manifest.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def _faults(folder: Path, text: str) -> tuple[Fault, ...]:
    with pytest.raises(ManifestError) as caught:
        read_manifest(_write(folder, text))
    return caught.value.faults


class TestReading:
    def test_patient_and_path_suffice(self, cohort: Path) -> None:
        manifest = read_manifest(_write(cohort, "patient_id,path\np1,scans/a.nii\n"))
        assert tuple(manifest.scans.columns) == BASE_COLUMNS
        row = manifest.scans.iloc[0]
        assert row["scan_id"] == "p1"
        assert row["path"] == str(cohort / "scans" / "a.nii")
        assert manifest.scans.drop(columns=["patient_id", "scan_id", "path"]).isna().all().all()
        assert manifest.source == cohort / "manifest.csv"

    def test_scan_id_is_patient_and_session_unless_given(self, cohort: Path) -> None:
        text = (
            "patient_id,session_id,scan_id,path\n"
            "p1,ses-1,,scans/a.nii\np1,ses-2,mine,scans/b.nii\np2,,,scans/c.nii\n"
        )
        manifest = read_manifest(_write(cohort, text))
        assert manifest.scans["scan_id"].tolist() == ["p1_ses-1", "mine", "p2"]

    def test_ids_stay_text(self, cohort: Path) -> None:
        text = "patient_id,session_id,path,site\n001,02,scans/a.nii,007\n1e3,2,scans/b.nii,7\n"
        scans = read_manifest(_write(cohort, text)).scans
        assert scans["patient_id"].tolist() == ["001", "1e3"]
        assert scans["session_id"].tolist() == ["02", "2"]
        assert scans["site"].tolist() == ["007", "7"]

    @pytest.mark.parametrize("spelling", ["", "n/a", "N/A", "NA", "nan", "NaN", "  "])
    def test_missing_is_missing_in_every_spelling(self, cohort: Path, spelling: str) -> None:
        text = (
            "patient_id,path,label,age,sex,site,nwbv,group\n"
            f"p1,scans/a.nii,{','.join([spelling] * 6)}\np2,scans/b.nii,AD,70,F,x,0.7,g\n"
        )
        manifest = read_manifest(_write(cohort, text))
        first = manifest.scans.iloc[0]
        assert first[["label", "age", "sex", "site", "nwbv", "group"]].isna().all()
        assert manifest.labels == ("AD",)
        assert manifest.patients()["label"].isna().tolist() == [True, False]

    def test_a_missing_label_equals_no_label(self, cohort: Path) -> None:
        text = "patient_id,path,label\np1,scans/a.nii,\np2,scans/b.nii,CN\n"
        labels = read_manifest(_write(cohort, text)).scans["label"]
        # Three-valued: "not AD" must not come out true for a patient nobody has assessed.
        assert (labels != "AD").fillna(False).tolist() == [False, True]
        assert pd.isna((labels != "AD").iloc[0])

    @pytest.mark.parametrize(
        ("before", "separator", "end"),
        [
            ("", ",", "\n"),
            ("\ufeff", ",", "\r\n"),
            ("", "\t", "\n"),
            ("\ufeff", "\t", "\r\n"),
            ("\n\n", ",", "\r"),
        ],
    )
    def test_the_form_of_the_file_does_not_matter(
        self, cohort: Path, before: str, separator: str, end: str
    ) -> None:
        lines = [["patient_id", "path", "age"], ["é1", "scans/a.nii", "70.5"], ["", "", ""]]
        text = before + "".join(separator.join(line) + end for line in lines)
        scans = read_manifest(_write(cohort, text)).scans
        assert scans[["patient_id", "age"]].to_numpy().tolist() == [["é1", 70.5]]

    def test_two_spellings_of_one_accent_are_one_patient(self, cohort: Path) -> None:
        text = "patient_id,session_id,path\ne\u0301,1,scans/a.nii\n\u00e9,2,scans/b.nii\n"
        assert list(read_manifest(_write(cohort, text)).patients().index) == ["\u00e9"]

    def test_covariates_are_numbers_if_all_their_values_are(self, cohort: Path) -> None:
        text = (
            "patient_id,path,nwbv,stage,empty\n"
            "p1,scans/a.nii,.7,1,\np2,scans/b.nii,7e-1,early,\np3,scans/c.nii,n/a,2,\n"
        )
        manifest = read_manifest(_write(cohort, text))
        assert manifest.covariates == ("age", "sex", "site", "scanner", "nwbv", "stage", "empty")
        assert manifest.scans["nwbv"].tolist()[:2] == [0.7, 0.7]
        assert manifest.scans["stage"].tolist() == ["1", "early", "2"]
        assert manifest.scans["empty"].isna().all()

    @pytest.mark.parametrize(
        ("given_as", "meant"), [("f", "F"), ("Female", "F"), ("M", "M"), ("male", "M")]
    )
    def test_sex_is_understood_in_words(self, cohort: Path, given_as: str, meant: str) -> None:
        text = f"patient_id,path,sex\np1,scans/a.nii,{given_as}\n"
        assert read_manifest(_write(cohort, text)).scans["sex"].tolist() == [meant]

    def test_empty_columns_behind_the_last_are_ignored(self, cohort: Path) -> None:
        text = "patient_id,path,,\np1,scans/a.nii,,\n"
        assert tuple(read_manifest(_write(cohort, text)).scans.columns) == BASE_COLUMNS

    def test_an_absolute_path_may_lead_anywhere(self, cohort: Path, tmp_path: Path) -> None:
        outside = tmp_path / "elsewhere.nii"
        outside.write_bytes(b"x")
        text = f"patient_id,path\np1,{outside}\n"
        assert read_manifest(_write(cohort, text)).scans["path"].tolist() == [str(outside)]

    def test_a_detour_inside_the_folder_is_no_escape(self, cohort: Path) -> None:
        (cohort / "link.nii").symlink_to(cohort / "scans" / "a.nii")
        text = "patient_id,path\np1,scans/../link.nii\np2,./scans/b.nii\n"
        paths = read_manifest(_write(cohort, text)).scans["path"].tolist()
        assert paths == [str(cohort / "link.nii"), str(cohort / "scans" / "b.nii")]

    def test_files_are_not_looked_at_when_not_asked(self, cohort: Path) -> None:
        path = _write(cohort, "patient_id,path\np1,gone.nii\n")
        assert read_manifest(path, check_files=False).scans["path"].tolist() == [
            str(cohort / "gone.nii")
        ]

    def test_the_same_file_twice_for_one_patient_is_not_a_leak(self, cohort: Path) -> None:
        text = "patient_id,session_id,path\np1,1,scans/a.nii\np1,2,scans/a.nii\n"
        assert len(read_manifest(_write(cohort, text)).scans) == 2


_HEAD = "patient_id,session_id,path,label,age,sex\n"


class TestFaults:
    def test_all_faults_are_told_at_once_in_the_tables_order(self, cohort: Path) -> None:
        text = _HEAD + (
            "p1,1,scans/a.nii,AD,old,X\n"
            "p1,2,scans/b.nii,CN,70,F\n"
            "p2,,scans/a.nii,,,\n"
            "p3,,scans/none.nii,,200,\n"
            "p2,,../c.nii,,,\n"
        )
        faults = _faults(cohort, text)
        assert [(fault.row, fault.column) for fault in faults] == [
            (2, "age"),
            (2, "sex"),
            (3, "label"),
            (3, "sex"),
            (4, "path"),
            (5, "path"),
            (5, "age"),
            (6, "scan_id"),
            (6, "path"),
        ]

    def test_the_message_names_the_table_and_counts(self, cohort: Path) -> None:
        with pytest.raises(ManifestError, match="2 faults") as caught:
            read_manifest(_write(cohort, _HEAD + "p1,,x.nii,,old,\n"))
        assert str(cohort / "manifest.csv") in str(caught.value)
        assert "row 2, column age" in str(caught.value)

    def test_rows_are_counted_in_lines_of_the_file(self, cohort: Path) -> None:
        text = '\n\npatient_id,path,note\n\np1,scans/a.nii,"two\nlines"\n,,\np2,scans/none.nii,\n'
        assert [fault.row for fault in _faults(cohort, text)] == [8]

    def test_a_faulty_form_does_not_hide_faulty_cells(self, cohort: Path) -> None:
        text = "path,age,age\nscans/none.nii,old,1\n"
        places = [(fault.row, fault.column) for fault in _faults(cohort, text)]
        assert places == [(1, "patient_id"), (1, "age"), (2, "path"), (2, "age")]

    @pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
    def test_a_table_that_is_not_there_is_a_manifest_error(
        self, tmp_path: Path, make: Callable[[Path], None]
    ) -> None:
        make(tmp_path / "m.csv")
        with pytest.raises(ManifestError, match=r"m\.csv"):
            read_manifest(tmp_path / "m.csv")

    def test_another_encoding_is_told_with_the_place(self, tmp_path: Path) -> None:
        (tmp_path / "m.csv").write_bytes("patient_id,path\né,a.nii\n".encode("latin-1"))
        with pytest.raises(ManifestError, match="position 16"):
            read_manifest(tmp_path / "m.csv")

    def test_a_manifest_made_in_memory_has_the_same_checks(self, cohort: Path) -> None:
        table = TextTable.from_records(
            ["patient_id", "path", "label"],
            [
                {"patient_id": "p1", "path": "scans/a.nii", "label": "AD"},
                {"patient_id": "p1", "path": "scans/b.nii", "label": "CN"},
            ],
        )
        with pytest.raises(ManifestError) as caught:
            make_manifest(table, source=cohort, folder=cohort)
        assert [fault.column for fault in caught.value.faults] == ["scan_id", "label"]
        assert "AD (scan 1), CN (scan 2)" in str(caught.value)


class TestManifest:
    @pytest.fixture
    def manifest(self, cohort: Path) -> Manifest:
        text = (
            "patient_id,session_id,path,label,age,sex,nwbv,note\n"
            'p2,1,scans/a.nii,,81,M,,"a, ""b"""\n'
            "p2,2,scans/b.nii,AD,82,,0.1,x\n"
            "p1,,scans/c.nii,CN,70.25,F,0.30000000000000004,\n"
        )
        return read_manifest(_write(cohort, text))

    def test_patients_are_sorted_with_the_first_known_value_of_each(
        self, manifest: Manifest
    ) -> None:
        patients = manifest.patients()
        assert list(patients.index) == ["p1", "p2"]
        assert patients.index.name == "patient_id"
        assert tuple(patients.columns) == ("label", "n_scans", *manifest.covariates)
        assert patients["label"].tolist() == ["CN", "AD"]
        assert patients["n_scans"].tolist() == [1, 2]
        assert patients["age"].tolist() == [70.25, 81.0]
        assert patients["nwbv"].tolist() == [0.30000000000000004, 0.1]

    def test_keep_follows_the_manifests_order_and_renumbers(self, manifest: Manifest) -> None:
        kept = manifest.keep(["p1", "p2_2"])
        assert kept.scans["scan_id"].tolist() == ["p2_2", "p1"]
        assert list(kept.scans.index) == [0, 1]
        assert manifest.keep([]).scans.empty
        assert len(manifest.scans) == 3

    def test_keep_refuses_a_scan_that_is_not_there(self, manifest: Manifest) -> None:
        with pytest.raises(ManifestError, match="p9"):
            manifest.keep(["p1", "p9"])

    @pytest.mark.parametrize("at", ["cohort/again.csv", "cohort/scans/sub.csv", "other/m.csv"])
    def test_writing_and_reading_gives_the_same_table(
        self, manifest: Manifest, tmp_path: Path, at: str
    ) -> None:
        manifest.write(tmp_path / at)
        again = read_manifest(tmp_path / at)
        pd.testing.assert_frame_equal(again.scans, manifest.scans)
        again.write(tmp_path / at)
        assert b"\r" not in (tmp_path / at).read_bytes()

    def test_paths_inside_the_folder_are_relative_and_others_absolute(
        self, manifest: Manifest, tmp_path: Path
    ) -> None:
        manifest.write(tmp_path / "cohort" / "m.csv")
        manifest.write(tmp_path / "other" / "m.csv")
        inside, outside = (read_text_table(tmp_path / at / "m.csv") for at in ("cohort", "other"))
        at = inside.columns.index("path")
        assert inside.rows[0][at] == "scans/a.nii"
        assert outside.rows[0][at] == str(tmp_path / "cohort" / "scans" / "a.nii")

    def test_a_written_cohort_can_be_moved(self, manifest: Manifest, tmp_path: Path) -> None:
        manifest.write(tmp_path / "cohort" / "m.csv")
        (tmp_path / "cohort").rename(tmp_path / "moved")
        paths = read_manifest(tmp_path / "moved" / "m.csv").scans["path"]
        assert all(Path(path).is_relative_to(tmp_path / "moved") for path in paths)

    def test_a_link_out_of_the_folder_is_written_so_that_it_can_be_read(
        self, cohort: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "outside.nii").write_bytes(b"x")
        (cohort / "link.nii").symlink_to(tmp_path / "outside.nii")
        manifest = read_manifest(_write(cohort, f"patient_id,path\np,{cohort / 'link.nii'}\n"))
        manifest.write(cohort / "again.csv")
        assert read_manifest(cohort / "again.csv").scans["path"].tolist() == [
            str(cohort / "link.nii")
        ]

    def test_the_written_bytes_are_known(self, manifest: Manifest, cohort: Path) -> None:
        manifest.write(cohort / "again.csv")
        assert (cohort / "again.csv").read_text() == (
            "patient_id,session_id,scan_id,path,label,age,sex,site,scanner,nwbv,note\n"
            'p2,1,p2_1,scans/a.nii,,81,M,,,,"a, ""b"""\n'
            "p2,2,p2_2,scans/b.nii,AD,82,,,,0.1,x\n"
            "p1,,p1,scans/c.nii,CN,70.25,F,,,0.30000000000000004,\n"
        )


class TestTemplate:
    def test_the_template_is_a_manifest(self) -> None:
        path = _REPOSITORY / "data_manifests" / "template.csv"
        manifest = read_manifest(path, check_files=False)
        assert tuple(manifest.scans.columns) == (*BASE_COLUMNS, "nwbv")
        assert manifest.labels == ("AD", "CN")

    def test_the_data_dictionary_names_every_column(self) -> None:
        text = (_REPOSITORY / "data_manifests" / "README.md").read_text(encoding="utf-8")
        assert [name for name in BASE_COLUMNS if f"| `{name}` |" not in text] == []


_letters = st.characters(exclude_categories=("Cs",), exclude_characters="\0")
#: A formula is no value; what a table says of one is in the gallery.
_cells = st.text(_letters, max_size=12).filter(
    lambda text: not (clean_cell(text) or "").startswith("=")
)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(_cells, min_size=1, max_size=4),
    numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4),
)
def test_any_text_and_any_number_survives_writing(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], numbers: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("round")
    records = [
        {
            "patient_id": f"p{at}",
            "path": "x.nii",
            "label": clean_cell(label),
            "number": repr(numbers[at]),
        }
        for at, label in enumerate(labels)
    ]
    table = TextTable.from_records(["patient_id", "path", "label", "number"], records)
    manifest = make_manifest(table, source=folder, folder=folder, check_files=False)
    manifest.write(folder / "m.csv")
    again = read_manifest(folder / "m.csv", check_files=False)
    pd.testing.assert_frame_equal(again.scans, manifest.scans)
    assert again.scans["number"].tolist() == numbers[: len(labels)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1.0),
        ("-.5", -0.5),
        ("2.", 2.0),
        ("1e-3", 0.001),
        ("1_000", None),
        ("\u0661", None),
        ("inf", None),
        ("1e999", None),
        ("0x1", None),
        ("1,5", None),
    ],
)
def test_numbers_are_plain_decimal_and_finite(text: str, number: float | None) -> None:
    assert parse_number(text) == number


def test_importing_the_manifest_does_not_import_what_checking_needs() -> None:
    code = (
        "import sys, mri_transfer.cohorts.manifest.manifest, mri_transfer.scans.volumes\n"
        "print({'pandera', 'torch', 'monai', 'bids2table', 'nibabel'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=_REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
