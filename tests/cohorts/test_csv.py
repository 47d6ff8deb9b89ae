"""The reader of tables: columns renamed, paths kept inside the root, nothing left out quietly."""

from __future__ import annotations

from pathlib import Path

import pytest

from mri_transfer.cohorts.csv import read_csv_cohort
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
        ({"Patient": "patient_id"}, "no such column (expected patient_id, path, dx)"),
        ({"dx": "label", "path": "label"}, "two columns are to become one"),
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
