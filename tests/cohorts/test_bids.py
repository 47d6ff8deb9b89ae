"""The reader of BIDS folders: names, tables, and what does not fit together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from mri_transfer.cohorts.bids import read_bids_cohort
from mri_transfer.errors import ManifestError
from tests.phantoms import asymmetric_phantom, store_nifti, write_bids_cohort, write_tsv


def _image(root: Path, *parts: str, seed: int = 0) -> Path:
    return store_nifti(root.joinpath(*parts), asymmetric_phantom(seed=seed))


def _two_patients(
    root: Path, columns: Sequence[str] = (), rows: Sequence[Sequence[object]] = ()
) -> Path:
    return write_bids_cohort(root, {"1": [None], "2": [None]}, columns=columns, rows=rows)


def test_patients_sessions_and_scans_are_named_as_in_bids(bids_cohort: Path) -> None:
    scans = read_bids_cohort(bids_cohort).manifest.scans
    ids = ["A1", "A1", "A2", "C1", "C1", "C2"]
    assert scans["patient_id"].tolist() == [f"sub-{name}" for name in ids]
    assert scans["session_id"].dropna().tolist() == ["ses-1", "ses-2"] * 2
    assert scans["session_id"].isna().tolist() == [False, False, True] * 2
    assert scans["scan_id"].tolist()[:3] == ["sub-A1_ses-1", "sub-A1_ses-2", "sub-A2"]
    expected = bids_cohort / "sub-A1" / "ses-2" / "anat" / "sub-A1_ses-2_T1w.nii.gz"
    assert scans["path"].iloc[1] == str(expected)


def test_the_participants_table_gives_labels_and_numeric_covariates(bids_cohort: Path) -> None:
    reading = read_bids_cohort(bids_cohort)
    patients = reading.manifest.patients()
    assert patients["label"].tolist() == ["AD", "AD", "CN", "CN"]
    assert patients["age"].tolist() == [71.5, 80.0, 66.0, 69.0]
    assert patients["sex"].tolist() == ["F", "M", "F", "M"]
    assert patients["nwbv"].tolist()[:3] == [0.71, 0.69, 0.78]
    assert patients["nwbv"].isna().tolist() == [False, False, False, True]
    assert reading.manifest.covariates == ("age", "sex", "site", "scanner", "nwbv")
    assert any("handedness" in note for note in reading.notes)


@pytest.mark.parametrize("prefix", ["", "sub-"])
def test_ids_in_the_table_may_lack_their_prefix(tmp_path: Path, prefix: str) -> None:
    root = _two_patients(
        tmp_path / "d", ["participant_id", "group"], [[f"{prefix}1", "AD"], [f"{prefix}2", "CN"]]
    )
    assert read_bids_cohort(root).manifest.scans["label"].tolist() == ["AD", "CN"]


@pytest.mark.parametrize(
    ("columns", "taken"),
    [
        (["group", "diagnosis"], "diagnosis"),
        (["dx", "group"], "group"),
        (["DX"], "DX"),
        (["cdr"], None),
    ],
)
def test_the_first_known_label_column_is_taken(
    tmp_path: Path, columns: list[str], taken: str | None
) -> None:
    root = _two_patients(
        tmp_path / "d",
        ["participant_id", *columns],
        [[patient, *columns] for patient in ("1", "2")],
    )
    reading = read_bids_cohort(root)
    assert reading.manifest.labels == (() if taken is None else (taken,))
    noted = any(f"Labels are read from the column {taken}." in note for note in reading.notes)
    assert noted == (taken is not None)


def test_a_named_label_column_wins_and_is_no_covariate(tmp_path: Path) -> None:
    root = _two_patients(
        tmp_path / "d",
        ["participant_id", "diagnosis", "cdr"],
        [["1", "x", "0.5"], ["2", "y", "n/a"]],
    )
    reading = read_bids_cohort(root, label_column="cdr")
    assert reading.manifest.labels == ("0.5",)
    assert "cdr" not in reading.manifest.covariates
    assert reading.manifest.scans["label"].isna().tolist() == [False, True]
    assert any("1 of 2 scans have no label" in note for note in reading.notes)


def test_a_label_column_that_does_not_exist_is_refused_with_those_that_do(
    bids_cohort: Path,
) -> None:
    with pytest.raises(ManifestError, match="age, sex, diagnosis, nwbv, handedness"):
        read_bids_cohort(bids_cohort, label_column="outcome")


def test_without_a_participants_table_everything_is_missing(tmp_path: Path) -> None:
    reading = read_bids_cohort(_two_patients(tmp_path / "d"))
    assert reading.manifest.scans["label"].isna().all()
    assert any("no participants.tsv" in note for note in reading.notes)


def test_participants_and_scans_that_do_not_meet_are_noted(tmp_path: Path) -> None:
    root = _two_patients(
        tmp_path / "d", ["participant_id", "dx", "age"], [["1", "AD", 70], ["9", "CN", 71]]
    )
    reading = read_bids_cohort(root)
    assert reading.manifest.scans["patient_id"].tolist() == ["sub-1", "sub-2"]
    assert reading.manifest.scans["age"].isna().tolist() == [False, True]
    assert any("without a T1w image, left out: sub-9" in note for note in reading.notes)
    assert any("does not describe: sub-2" in note for note in reading.notes)


def test_folders_that_bids_does_not_allow_are_noted(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    _image(root, "sub-OAS1_0003", "anat", "sub-OAS1_0003_T1w.nii.gz", seed=7)
    reading = read_bids_cohort(root)
    assert len(reading.manifest.scans) == 2
    assert any("letters and digits: sub-OAS1_0003" in note for note in reading.notes)


@pytest.mark.parametrize("own_table", [True, False])
def test_a_sessions_value_comes_before_the_patients(tmp_path: Path, own_table: bool) -> None:
    root = write_bids_cohort(
        tmp_path / "d",
        {"1": ["a", "b"], "2": ["a"]},
        columns=["participant_id", "age", "sex"],
        rows=[["1", 70, "F"], ["2", 60, "M"]],
    )
    if own_table:
        write_tsv(
            root / "sub-1" / "sub-1_sessions.tsv",
            ["session_id", "age", "diagnosis"],
            [["ses-a", "n/a", "AD"], ["b", 72, "AD"]],
        )
    else:
        write_tsv(
            root / "sessions.tsv",
            ["participant_id", "session_id", "age", "diagnosis"],
            [["sub-1", "ses-a", "n/a", "AD"], ["1", "b", 72, "AD"]],
        )
    scans = read_bids_cohort(root).manifest.scans
    assert scans["age"].tolist() == [70.0, 72.0, 60.0]
    assert scans["sex"].tolist() == ["F", "F", "M"]
    assert scans["label"].tolist()[:2] == ["AD", "AD"]
    assert scans["label"].isna().tolist() == [False, False, True]


def test_two_diagnoses_of_one_patient_are_refused(tmp_path: Path) -> None:
    root = write_bids_cohort(tmp_path / "d", {"1": ["a", "b"]})
    write_tsv(
        root / "sub-1" / "sub-1_sessions.tsv",
        ["session_id", "diagnosis"],
        [["ses-a", "CN"], ["ses-b", "AD"]],
    )
    with pytest.raises(ManifestError, match="different values of label"):
        read_bids_cohort(root)


def test_runs_of_one_session_are_scans_of_their_own(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    _image(root, "sub-3", "ses-1", "anat", "sub-3_ses-1_run-1_T1w.nii.gz", seed=8)
    _image(root, "sub-3", "ses-1", "anat", "sub-3_ses-1_run-02_T1w.nii", seed=9)
    scans = read_bids_cohort(root).manifest.scans
    assert scans["scan_id"].tolist()[2:] == ["sub-3_ses-1_run-02", "sub-3_ses-1_run-1"]


def test_only_the_suffix_asked_for_is_read(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    _image(root, "sub-1", "anat", "sub-1_T2w.nii.gz", seed=5)
    (root / "sub-1" / "anat" / "sub-1_T1w.json").write_text("{}")
    assert read_bids_cohort(root).manifest.scans["scan_id"].tolist() == ["sub-1", "sub-2"]
    second = read_bids_cohort(root, suffix="T2w")
    assert second.manifest.scans["scan_id"].tolist() == ["sub-1"]


@pytest.mark.parametrize("name", ["v1.0", "cohort [new]", "a*b", "plain"])
def test_the_folders_own_name_does_not_matter(tmp_path: Path, name: str) -> None:
    root = _two_patients(tmp_path / name)
    assert len(read_bids_cohort(root).manifest.scans) == 2


def test_a_cohort_that_grew_since_the_last_reading_is_read_anew(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    assert len(read_bids_cohort(root).manifest.scans) == 2
    _image(root, "sub-3", "anat", "sub-3_T1w.nii.gz", seed=9)
    assert len(read_bids_cohort(root).manifest.scans) == 3


def test_a_link_inside_the_data_set_is_followed_and_one_out_of_it_refused(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    scan = root / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    inside, outside = root / ".git" / "annex" / "key", tmp_path / "elsewhere.nii.gz"
    inside.parent.mkdir(parents=True)
    shutil.copy(scan, outside)
    scan.rename(inside)
    scan.symlink_to(inside)
    assert len(read_bids_cohort(root).manifest.scans) == 2
    scan.unlink()
    scan.symlink_to(outside)
    with pytest.raises(ManifestError, match="symbolic link"):
        read_bids_cohort(root)


def test_a_folder_of_a_patient_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    (root / "sub-2").rename(tmp_path / "sub-2")
    (root / "sub-2").symlink_to(tmp_path / "sub-2", target_is_directory=True)
    with pytest.raises(ManifestError, match=r"sub-2_T1w\.nii\.gz"):
        read_bids_cohort(root)


def test_one_image_under_two_patients_is_refused(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d", ["participant_id"], [["1"], ["2"]])
    one, two = (root / f"sub-{n}" / "anat" / f"sub-{n}_T1w.nii.gz" for n in (1, 2))
    shutil.copy(one, two)
    with pytest.raises(ManifestError, match="row 3, column path: one file under two patients"):
        read_bids_cohort(root)


def test_an_image_in_another_patients_folder_is_refused(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    _image(root, "sub-1", "anat", "sub-7_T1w.nii.gz", seed=9)
    _image(root, "sub-1", "ses-1", "anat", "sub-1_ses-2_T1w.nii.gz", seed=9)
    with pytest.raises(ManifestError) as caught:
        read_bids_cohort(root)
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize(
    ("columns", "rows", "says"),
    [
        (["participant_id"], [["1"], ["sub-1"]], "two rows about the same participant"),
        (["subject"], [["1"]], "the column is missing"),
        (["participant_id", "age"], [["n/a", "1"]], "row 2, column participant_id"),
        (["participant_id", "age"], [["1", "89+"]], "age is not a number"),
        (["participant_id", "sex"], [["1", "1"]], "sex cannot be understood"),
        (["participant_id", "age"], [["1", "70", "?"]], "as many cells"),
    ],
)
def test_a_faulty_participants_table_is_refused(
    tmp_path: Path, columns: list[str], rows: list[list[str]], says: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        read_bids_cohort(_two_patients(tmp_path / "d", columns, rows))
    assert says in str(caught.value)
    assert "participants.tsv" in str(caught.value)


def test_a_folder_without_images_and_no_folder_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no T1w image"):
        read_bids_cohort(tmp_path)
    with pytest.raises(ManifestError, match="no such folder"):
        read_bids_cohort(tmp_path / "none")


def test_reading_prints_and_logs_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = _two_patients(tmp_path / "d")
    _image(root, "sub-1", "anat", "sub-1_run-x_T1w.nii.gz", seed=9)
    (tmp_path / "empty").mkdir()
    read_bids_cohort(root)
    with pytest.raises(ManifestError):
        read_bids_cohort(tmp_path / "empty")
    assert capfd.readouterr() == ("", "")
    # The index's log handler may hold on to another test's stderr: records tell in any case.
    assert caplog.records == []


@pytest.mark.data
def test_sessions_of_real_patients_stay_together(shared_data: Path) -> None:
    reading = read_bids_cohort(shared_data / "oasis1-repeat-5")
    patients = reading.manifest.patients()
    assert list(patients.index) == ["sub-OAS10061", "sub-OAS10101", "sub-OAS10111"]
    assert patients["n_scans"].tolist() == [1, 2, 2]
    assert patients["sex"].tolist() == ["F", "M", "M"]


@pytest.mark.data
def test_real_scans_without_a_diagnosis_have_no_label(shared_data: Path) -> None:
    manifest = read_bids_cohort(shared_data / "oasis1-heads-3").manifest
    assert manifest.scans["label"].isna().tolist() == [True] * 3
    # A blank CDR means that nobody assessed the person.
    assert manifest.scans["cdr"].isna().tolist() == [True, False, False]
    by_cdr = read_bids_cohort(shared_data / "oasis1-heads-3", label_column="cdr").manifest
    assert by_cdr.scans["label"].isna().tolist() == [True, False, False]


@pytest.mark.data
def test_a_real_second_cohort_is_read(shared_data: Path) -> None:
    manifest = read_bids_cohort(shared_data / "ixi-16").manifest
    assert len(manifest.patients()) == 16
    assert manifest.labels == ("CN",)
    assert manifest.scans["age"].between(20, 75).all()
    assert manifest.scans["site"].notna().all()
