"""Tables without paths, columns under other names, sheets of workbooks, ages that are cut off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.cohorts.mapping.mapping import ColumnMapping
from mri_transfer.cohorts.readers.csv import read_csv_cohort
from mri_transfer.errors import ManifestError
from tests.pipelines.conftest import run_command

SEARCH = (
    '"Image Data ID","Subject","Group","Sex","Age","Visit","Modality","Description","Type",'
    '"Acq Date","Format","Downloaded"\n'
)
MRI = '"MRI","MPR; GradWarp","Processed","4/18/2006","NiFTI","9/01/2024"'


def _search_table(folder: Path, rows: Sequence[str]) -> Path:
    path = folder / "idaSearch.csv"
    path.write_text(SEARCH + "".join(f"{row},{MRI}\n" for row in rows))
    return path


def _download(folder: Path, subject: str, image_id: str, *names: str) -> Path:
    place = folder / subject / "MPR__GradWarp" / "2006-04-18_08_20_30.0" / image_id
    place.mkdir(parents=True)
    for name in names:
        (place / name).write_bytes(f"{subject} {image_id} {name}".encode())
    return place


ROWS = (
    '"I118671","002_S_0295","CN","M","84","ADNI1/GO Month 12"',
    '"118692","002_S_0413","CN","F","76","sc"',
    '"I40966","002_S_0619","AD","M","77","sc"',
    '"I99","002_S_0729","LMCI","F","65","sc"',
)


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A download of three of four images, two as NIfTI and one as DICOM."""
    root = tmp_path / "ADNI"
    _download(root, "002_S_0295", "I118671", "ADNI_002_S_0295_MR_Br_20081001_S13408_I118671.nii")
    _download(root, "002_S_0413", "I118692", "ADNI_002_S_0413_MR_Br_20081001_S1_I118692.nii.gz")
    _download(root, "002_S_0619", "I40966", "a.dcm", "b.dcm")
    return root


def test_the_files_of_an_adni_search_are_found_by_their_ids(
    tmp_path: Path, download: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = _search_table(tmp_path, ROWS), tmp_path / "m.csv"
    words = ["--mapping", "adni_search", "--images", str(download), "--out", str(out)]
    assert run_command("manifest", "csv", str(table), *words) == 0
    made = pd.read_csv(out, dtype=str)
    assert made["patient_id"].tolist() == ["002_S_0295", "002_S_0413"]
    assert made["scan_id"].tolist() == ["I118671", "118692"]
    assert made["label"].tolist() == ["CN", "CN"]
    assert made["visit"].tolist() == ["ADNI1/GO Month 12", "sc"]
    assert [Path(path).parent.name for path in made["path"]] == ["I118671", "I118692"]
    told = capsys.readouterr().out.replace("\n", " ")
    assert "1 image only as DICOM files: I40966" in told
    assert "2 rows without an image left out" in told


def test_a_download_of_dicom_alone_says_how_to_convert(tmp_path: Path, download: Path) -> None:
    table = _search_table(tmp_path, ROWS[2:3])
    with pytest.raises(ManifestError, match=r"DICOM files, not NIfTI .*I40966.*dcm2niix"):
        read_csv_cohort(table, mapping="adni_search", images=download)


def test_two_files_of_one_image_and_none_at_all_are_refused(tmp_path: Path, download: Path) -> None:
    _download(download / "copy", "002_S_0295", "I118671", "again.nii")
    table = _search_table(tmp_path, ROWS)
    with pytest.raises(ManifestError, match="row 2, column Image Data ID: several files"):
        read_csv_cohort(table, mapping="adni_search", images=download)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match=r"none of I118671, 118692, .*--images"):
        read_csv_cohort(table, mapping="adni_search", images=tmp_path / "empty")


def test_images_of_any_table_are_found_by_its_scan_ids(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("scan7_T1.nii.gz", "scan71.nii.gz", "x_scan71_y.txt"):
        (folder / name).write_bytes(name.encode())
    table = tmp_path / "t.csv"
    table.write_text("who,image\np1,scan7\np2,scan71\n")
    columns = {"who": "patient_id", "image": "scan_id"}
    scans = read_csv_cohort(table, columns=columns, images=folder).manifest.scans
    assert [Path(path).name for path in scans["path"]] == ["scan7_T1.nii.gz", "scan71.nii.gz"]
    with pytest.raises(ManifestError, match="no column of image ids"):
        read_csv_cohort(table, columns={"who": "patient_id"}, images=folder)
    table.write_text("patient_id,scan_id,path\np1,scan7,a.nii\n")
    with pytest.raises(ManifestError, match="already has paths"):
        read_csv_cohort(table, images=folder)


def test_a_column_may_be_given_the_name_by_which_the_mapping_knows_it(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"a")
    table = tmp_path / "t.csv"
    table.write_text("MRI ID,M/F,Age,CDR,path\nOAS1_0001_MR1,F,74,0.5,a.nii\n")
    columns = {"MRI ID": "ID"}
    scan = read_csv_cohort(table, columns=columns, mapping="oasis1").manifest.scans.iloc[0]
    assert (scan["patient_id"], scan["session_id"], scan["label"]) == ("OAS1_0001", "MR1", "AD")
    with pytest.raises(ManifestError, match=r"MRI IDs: .*found MRI ID, .*Did you mean MRI ID"):
        read_csv_cohort(table, columns={"MRI IDs": "ID"}, mapping="oasis1")
    table.write_text("MRI ID,ID,M/F,Age,CDR,path\nOAS1_0001_MR1,x,F,74,0.5,a.nii\n")
    with pytest.raises(ManifestError, match="two columns are mapped to one"):
        read_csv_cohort(table, columns=columns, mapping="oasis1")


def test_a_column_that_is_not_there_is_expected_and_those_that_are_were_found(
    tmp_path: Path,
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("Subject,path\np1,a.nii\n")
    with pytest.raises(ManifestError) as refused:
        read_csv_cohort(table, mapping=ColumnMapping(columns={"Subjct": "patient_id"}))
    [fault] = refused.value.faults
    assert (fault.column, fault.found, fault.expected) == ("Subjct", "Subject, path", None)
    assert "Did you mean Subject?" in str(fault)


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    (tmp_path / "a.nii").write_bytes(b"a")
    path = tmp_path / "cohort.xlsx"
    with pd.ExcelWriter(path) as writer:
        pd.DataFrame({"Note": ["read me"]}).to_excel(writer, sheet_name="About", index=False)
        scans = pd.DataFrame({"patient_id": ["p1"], "path": ["a.nii"], "age": ["old"]})
        scans.to_excel(writer, sheet_name="Scans", index=False)
        scans.assign(age=70).to_excel(writer, sheet_name="Mended", index=False)
    return path


def test_the_sheet_of_a_workbook_is_named_and_can_be_chosen(workbook: Path) -> None:
    with pytest.raises(ManifestError, match=r"cohort\.xlsx \(sheet About\): "):
        read_csv_cohort(workbook)
    with pytest.raises(ManifestError, match=r"\(sheet Scans\): 1 fault\n.*age is not a number"):
        read_csv_cohort(workbook, sheet="Scans")
    reading = read_csv_cohort(workbook, sheet="Mended")
    assert reading.manifest.scans["age"].tolist() == [70]
    assert any("Sheet Mended of the workbook is read" in note for note in reading.notes)
    assert any("About, Scans" in note for note in reading.notes)
    with pytest.raises(ManifestError, match=r"no such sheet .*found scan;.*Did you mean Scans\?"):
        read_csv_cohort(workbook, sheet="scan")


def test_only_a_workbook_has_sheets(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("patient_id,path\np1,a.nii\n")
    with pytest.raises(ManifestError, match="it has no sheets"):
        read_csv_cohort(table, sheet="Scans")


@pytest.mark.parametrize("age", ["89+", ">89", "≥ 89", "90 or older", "89 and above", "89+ years"])
def test_ages_that_are_cut_off_are_told_how_to_write(tmp_path: Path, age: str) -> None:
    (tmp_path / "a.nii").write_bytes(b"a")
    table = tmp_path / "t.csv"
    table.write_text(f"patient_id,path,age\np1,a.nii,{age}\n")
    with pytest.raises(ManifestError) as refused:
        read_csv_cohort(table)
    [fault] = refused.value.faults
    assert fault.what == "age is censored"
    assert "89 for 89+, 90 for >89" in str(fault)


@pytest.mark.parametrize("age", ["old", "89-90"])
def test_other_ages_are_no_numbers(tmp_path: Path, age: str) -> None:
    (tmp_path / "a.nii").write_bytes(b"a")
    table = tmp_path / "t.csv"
    table.write_text(f"patient_id,path,age\np1,a.nii,{age}\n")
    with pytest.raises(ManifestError, match="age is not a number"):
        read_csv_cohort(table)
