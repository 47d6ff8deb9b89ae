"""The reader of tables: columns renamed, paths kept inside the root, nothing left out quietly."""

from __future__ import annotations

import datetime
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.cohorts.mapping.mapping import ColumnMapping
from mri_transfer.cohorts.readers.csv import read_csv_cohort
from mri_transfer.errors import ManifestError


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Folder images with a.nii and b.nii."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.nii").write_bytes(name.encode() * 50)
    return folder


def _table(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_paths_start_from_the_tables_folder(scans: Path, tmp_path: Path) -> None:
    table = _table(tmp_path, "patient_id,path,label\np1,images/a.nii,AD\np2,images/b.nii,CN\n")
    reading = read_csv_cohort(table)
    assert reading.manifest.scans["path"].tolist() == [str(scans / "a.nii"), str(scans / "b.nii")]
    assert reading.manifest.source == table
    assert reading.notes == ()


def test_paths_start_from_the_root_if_given(scans: Path, tmp_path: Path) -> None:
    table = _table(tmp_path, "patient_id\tpath\np1\ta.nii\n")
    reading = read_csv_cohort(table, root=scans)
    assert reading.manifest.scans["path"].tolist() == [str(scans / "a.nii")]
    with pytest.raises(ManifestError, match="leaves the cohort's folder"):
        read_csv_cohort(_table(tmp_path, "patient_id,path\np1,../table.csv\n"), root=scans)


def test_columns_are_renamed_from_theirs_to_ours(scans: Path, tmp_path: Path) -> None:
    table = _table(tmp_path, "Subject,File,DX,Volume\n01,images/a.nii,MCI,0.7\n")
    names = {"Subject": "patient_id", "File": "path", "DX": "label", "Volume": "nwbv"}
    scan = read_csv_cohort(table, columns=names).manifest.scans.iloc[0]
    assert (scan["patient_id"], scan["label"], scan["nwbv"]) == ("01", "MCI", 0.7)


def test_a_column_pushed_aside_is_noted(scans: Path, tmp_path: Path) -> None:
    table = _table(tmp_path, "patient_id,path,label,dx\np1,images/a.nii,old,AD\n")
    reading = read_csv_cohort(table, columns={"dx": "label"})
    assert reading.manifest.labels == ("AD",)
    assert any("column label is left out" in note for note in reading.notes)


def test_two_columns_can_swap_names(scans: Path, tmp_path: Path) -> None:
    table = _table(tmp_path, "patient_id,path,label,site\np1,images/a.nii,here,AD\n")
    reading = read_csv_cohort(table, columns={"site": "label", "label": "site"})
    assert reading.manifest.scans[["label", "site"]].to_numpy().tolist() == [["AD", "here"]]
    assert reading.notes == ()


def test_missing_labels_are_counted_in_a_note(scans: Path, tmp_path: Path) -> None:
    table = _table(tmp_path, "patient_id,path,label\np1,images/a.nii,n/a\np2,images/b.nii,CN\n")
    (note,) = read_csv_cohort(table).notes
    assert note.startswith("1 of 2 scans have no label")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"Patient": "patient_id"}, "no such column (found patient_id, path, dx)"),
        ({"dx": "label", "path": "label"}, "two columns are mapped to one"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(
    scans: Path, tmp_path: Path, columns: dict[str, str], says: str
) -> None:
    table = _table(tmp_path, "patient_id,path,dx\np1,images/a.nii,AD\n")
    with pytest.raises(ManifestError) as caught:
        read_csv_cohort(table, columns=columns)
    assert says in str(caught.value)


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="root"):
        read_csv_cohort(_table(tmp_path, "patient_id,path\n"), root=tmp_path / "none")


def _workbook(folder: Path, rows: list[list[object]]) -> Path:
    path = folder / "table.xlsx"
    pd.DataFrame(rows).to_excel(path, header=False, index=False)
    return path


def test_a_workbook_is_read_like_text(scans: Path, tmp_path: Path) -> None:
    book = _workbook(
        tmp_path,
        [
            ["patient_id", "path", "age", "nwbv", "visit", "note"],
            ["001", "images/a.nii", 70, 0.7, datetime.datetime(2019, 3, 1), "two\nlines"],
            [2, "images/b.nii", 71.5, 1.0, None, "n/a"],
        ],
    )
    scans_read = read_csv_cohort(book).manifest.scans
    assert scans_read["patient_id"].tolist() == ["001", "2"]
    assert scans_read["age"].tolist() == [70.0, 71.5]
    assert scans_read["nwbv"].tolist() == [0.7, 1.0]
    assert scans_read["visit"].tolist()[0] == "2019-03-01"
    assert scans_read["note"].tolist()[0] == "two lines"
    assert scans_read["note"].isna().tolist() == [False, True]


def test_faults_of_a_workbook_name_it_and_the_row_of_the_sheet(tmp_path: Path) -> None:
    book = _workbook(
        tmp_path, [["patient_id", "path"], ["p1", "a\nb.nii"], [None, None], ["p2", "gone.nii"]]
    )
    with pytest.raises(ManifestError) as caught:
        read_csv_cohort(book)
    assert str(caught.value).startswith(str(book))
    assert [fault.row for fault in caught.value.faults] == [2, 4]


def test_an_empty_workbook_is_refused_by_its_own_name(tmp_path: Path) -> None:
    book = _workbook(tmp_path, [])
    with pytest.raises(ManifestError, match="the table is empty") as caught:
        read_csv_cohort(book)
    assert caught.value.where == f"{book} (sheet Sheet1)"


def test_a_workbook_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for name, says in (
        ("empty.xlsx", "the workbook cannot be read"),
        ("old.xls", "old Excel format"),
        ("none.xlsx", "no such table"),
    ):
        path = tmp_path / name
        if "none" not in name:
            path.write_bytes(b"PK\x03\x04 cut short")
        with pytest.raises(ManifestError) as caught:
            read_csv_cohort(path)
        assert says in str(caught.value)
        assert name in str(caught.value)


def test_a_mapping_is_applied(scans: Path, tmp_path: Path) -> None:
    table = _table(tmp_path, "ID,file,x\np1,a.nii,1\n")
    mapping = ColumnMapping(columns={"ID": "patient_id", "file": "path"}, other_columns="leave out")
    reading = read_csv_cohort(table, root=scans, mapping=mapping)
    assert reading.manifest.scans["path"].tolist() == [str(scans / "a.nii")]
    assert reading.notes[0] == "Columns that the mapping does not use are left out: x."
