"""The reader of BIDS folders: names, tables, and what does not fit together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
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
    assert any("participants.tsv is missing or empty" in note for note in reading.notes)


def test_participants_and_scans_that_do_not_meet_are_noted(tmp_path: Path) -> None:
    root = _two_patients(
        tmp_path / "d", ["participant_id", "dx", "age"], [["1", "AD", 70], ["9", "CN", 71]]
    )
    reading = read_bids_cohort(root)
    assert reading.manifest.scans["patient_id"].tolist() == ["sub-1", "sub-2"]
    assert reading.manifest.scans["age"].isna().tolist() == [False, True]
    assert any("without a T1w image, left out: sub-9" in note for note in reading.notes)
    assert any(
        "Patients without a row in participants.tsv: sub-2" in note for note in reading.notes
    )


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
        (["participant_id"], [["1"], ["sub-1"]], "two rows about one patient"),
        (["subject"], [["1"]], "the column is missing"),
        (["participant_id", "age"], [["n/a", "1"]], "row 2, column participant_id"),
        (["participant_id", "age"], [["1", "89+"]], "age is censored"),
        (["participant_id", "age"], [["1", "old"]], "age is not a number"),
        (["participant_id", "sex"], [["1", "1"]], "unknown value of sex"),
        (["participant_id", "age"], [["1", "70", "?"]], "different numbers of cells"),
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


def _phenotype(
    root: Path, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    write_tsv(root / "phenotype" / f"{name}.tsv", columns, rows)


def _sidecar(path: Path, **content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_the_diagnosis_may_live_in_phenotype(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d", ["participant_id", "age"], [["1", 70], ["2", 71]])
    _phenotype(
        root, "clinic", ["participant_id", "dx", "mmse"], [["sub-1", "AD", 21], ["2", "CN", 29]]
    )
    reading = read_bids_cohort(root)
    assert reading.manifest.scans["label"].tolist() == ["AD", "CN"]
    assert reading.manifest.scans["mmse"].tolist() == [21, 29]
    assert reading.manifest.scans["age"].tolist() == [70, 71]


def test_a_phenotype_may_differ_between_sessions(tmp_path: Path) -> None:
    root = write_bids_cohort(
        tmp_path / "d", {"1": ["a", "b"]}, columns=["participant_id", "mmse"], rows=[["1", 30]]
    )
    rows = [["1", "a", 25, 7], ["1", "ses-b", 22, "n/a"]]
    _phenotype(root, "memory", ["participant_id", "session_id", "recall", "cdt"], rows)
    scans = read_bids_cohort(root).manifest.scans
    assert scans["recall"].tolist() == [25, 22]
    assert scans["cdt"].isna().tolist() == [False, True]
    assert scans["mmse"].tolist() == [30, 30]


def test_columns_of_one_name_in_two_tables_stay_apart(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d", ["participant_id", "age"], [["1", 70], ["2", 71]])
    _phenotype(root, "a", ["participant_id", "total", "age"], [["1", 1, 60], ["2", 2, 61]])
    _phenotype(root, "b", ["participant_id", "total", "own"], [["1", 3, 5], ["2", 4, 6]])
    reading = read_bids_cohort(root)
    scans = reading.manifest.scans
    assert scans["age"].tolist() == [70, 71]
    assert scans[["a.total", "b.total", "a.age", "own"]].to_numpy().tolist() == [
        [1, 3, 60, 5],
        [2, 4, 61, 6],
    ]
    assert any("a.total, a.age, b.total" in note for note in reading.notes)
    assert read_bids_cohort(root, label_column="b.total").manifest.labels == ("3", "4")


def test_only_the_phenotypes_asked_for_are_read(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d", ["participant_id"], [["1"], ["2"]])
    _phenotype(root, "good", ["participant_id", "total"], [["1", 1]])
    _phenotype(root, "bad", ["participant_id", "visit"], [["1", 1], ["1", 2]])
    with pytest.raises(ManifestError, match=r"bad\.tsv: 1 fault(.|\n)*row 3.*sub-1, as in row 2"):
        read_bids_cohort(root)
    assert "total" in read_bids_cohort(root, phenotypes=["good"]).manifest.covariates
    assert "total" not in read_bids_cohort(root, phenotypes=[]).manifest.covariates
    with pytest.raises(ManifestError, match=r"no such table \(found better; expected bad, good\)"):
        read_bids_cohort(root, phenotypes=["better"])


def test_faults_of_all_tables_are_listed_at_once(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d", ["participant_id"], [["1"], ["1"]])
    _phenotype(root, "x", ["subject"], [["1"]])
    with pytest.raises(ManifestError) as caught:
        read_bids_cohort(root)
    assert [fault.what for fault in caught.value.faults] == [
        "phenotype/x.tsv: the column is missing",
        "participants.tsv: two rows about one patient",
    ]


def test_site_and_scanner_come_from_the_sidecars(tmp_path: Path) -> None:
    root = write_bids_cohort(tmp_path / "d", {"1": ["a", "b"], "2": [None]})
    _image(root, "sub-2", "anat", "sub-2_acq-x_T1w.nii.gz", seed=9)
    _sidecar(root / "T1w.json", InstitutionName="General", Manufacturer="Siemens")
    _sidecar(root / "acq-y_T1w.json", Manufacturer="nobody")
    _sidecar(root / "T2w.json", Manufacturer="nobody")
    _sidecar(root / "acq-x_T1w.json", ManufacturersModelName="Prisma")
    _sidecar(root / "sub-1" / "sub-1_T1w.json", MagneticFieldStrength=2.8936)
    own = root / "sub-1" / "ses-b" / "anat" / "sub-1_ses-b_T1w.json"
    _sidecar(
        own,
        InstitutionName="County",
        Manufacturer="Philips",
        ManufacturersModelName="Philips Ingenia",
    )
    reading = read_bids_cohort(root)
    scans = reading.manifest.scans.set_index("scan_id")
    assert scans["site"].to_dict() == {
        "sub-1_ses-a": "General",
        "sub-1_ses-b": "County",
        "sub-2": "General",
        "sub-2_acq-x": "General",
    }
    assert scans["scanner"].to_dict() == {
        "sub-1_ses-a": "Siemens 2.9T",
        "sub-1_ses-b": "Philips Ingenia 2.9T",
        "sub-2": "Siemens",
        "sub-2_acq-x": "Siemens Prisma",
    }
    assert any("The site is read from the images' JSON" in note for note in reading.notes)


def test_columns_of_the_participants_win_over_sidecars(tmp_path: Path) -> None:
    root = _two_patients(
        tmp_path / "d",
        ["participant_id", "site", "scanner"],
        [["1", "HH", "n/a"], ["2", "n/a", ""]],
    )
    _sidecar(root / "T1w.json", InstitutionName="General", MagneticFieldStrength=3)
    scans = read_bids_cohort(root).manifest.scans
    assert scans["site"].tolist()[0] == "HH"
    assert scans["site"].isna().tolist() == [False, True]
    assert scans["scanner"].tolist() == ["3T", "3T"]  # a column without any value says nothing


@pytest.mark.parametrize("text", ["{", "[1]", "\xff", '{"InstitutionName": 3}', ""])
def test_sidecars_that_say_nothing_are_noted(tmp_path: Path, text: str) -> None:
    root = _two_patients(tmp_path / "d")
    (root / "T1w.json").write_bytes(text.encode("latin-1"))
    reading = read_bids_cohort(root)
    assert reading.manifest.scans["site"].isna().all()
    assert any("not read: T1w.json" in note for note in reading.notes) == ("3" not in text)


def test_a_sidecar_behind_a_link_out_of_the_data_set_is_not_read(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    _sidecar(tmp_path / "elsewhere.json", InstitutionName="Elsewhere")
    (root / "T1w.json").symlink_to(tmp_path / "elsewhere.json")
    reading = read_bids_cohort(root)
    assert reading.manifest.scans["site"].isna().all()
    assert any("not read: T1w.json" in note for note in reading.notes)


@pytest.fixture
def many_images(tmp_path: Path) -> Path:
    """One patient; two sessions of two runs, and an image of another acquisition."""
    root = tmp_path / "d"
    for seed, name in enumerate(
        ("ses-01_run-1", "ses-01_run-02", "ses-02_run-1", "ses-02_run-2", "ses-02_acq-fast_run-1")
    ):
        session = name.split("_")[0]
        _image(root, "sub-1", session, "anat", f"sub-1_{name}_T1w.nii.gz", seed=seed)
    return root


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({"ses": "02"}, ["ses-02_acq-fast_run-1", "ses-02_run-1", "ses-02_run-2"]),
        ({"ses": "ses-02", "acq": "fast"}, ["ses-02_acq-fast_run-1"]),
        ({"ses": "02", "acq": ""}, ["ses-02_run-1", "ses-02_run-2"]),
        ({"run": ["2"]}, ["ses-01_run-02", "ses-02_run-2"]),
        ({"ses": ["01", "02"], "run": "01", "acq": ["", "fast"]}, None),
    ],
)
def test_images_are_filtered_by_entity(
    many_images: Path, filters: dict[str, str | list[str]], kept: list[str] | None
) -> None:
    reading = read_bids_cohort(many_images, filters=filters)
    expected = kept or ["ses-01_run-1", "ses-02_acq-fast_run-1", "ses-02_run-1"]
    assert reading.manifest.scans["scan_id"].tolist() == [f"sub-1_{name}" for name in expected]
    assert f"The filters keep {len(expected)} of 5 images." in reading.notes


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"ses": "1"}, "found ses-1; expected ses-01, ses-02)"),
        ({"acq": ["fast", "slow"]}, "found acq-slow; expected acq-fast, images without it)"),
        ({"run": ""}, "found images without run-; expected run-02, run-1, run-2)"),
        ({"session": "01"}, "found session; expected acq, run, ses, sub)"),
        ({"ses": "01", "acq": "fast"}, "no image matches all filters (found ses-01; acq-fast;"),
    ],
)
def test_a_filter_that_matches_nothing_is_refused_with_what_there_is(
    many_images: Path, filters: dict[str, str | list[str]], says: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        read_bids_cohort(many_images, filters=filters)
    assert says in str(caught.value)


def test_only_the_participants_asked_for_are_indexed(tmp_path: Path) -> None:
    reading = read_bids_cohort(_two_patients(tmp_path / "d"), filters={"sub": ["sub-2"]})
    assert reading.manifest.scans["patient_id"].tolist() == ["sub-2"]
    # Of others it would be said that the filters leave them out.
    assert not [note for note in reading.notes if "filters keep" in note]


def test_participants_without_a_folder_or_an_image_are_refused(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    with pytest.raises(ManifestError, match=r"no such participant \(found sub-7; expected sub-1, "):
        read_bids_cohort(root, filters={"sub": ["1", "7"]})
    (root / "sub-9" / "func").mkdir(parents=True)
    with pytest.raises(ManifestError, match="no T1w image of sub-9"):
        read_bids_cohort(root, filters={"sub": "9"})


def test_every_filter_that_matches_nothing_is_listed(many_images: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read_bids_cohort(many_images, filters={"ses": ["7", "8"], "run": "9"})
    assert len(caught.value.faults) == 3


def test_unknown_labels_are_refused_with_their_rows(tmp_path: Path) -> None:
    root = write_bids_cohort(
        tmp_path / "d",
        {str(at): [None] for at in range(1, 6)},
        columns=["participant_id", "dx", "age"],
        rows=[["1", "AD", 1], ["2", "MCI", 2], ["3", "ad", 3], ["4", "n/a", "x"], ["5", "MCI", 5]],
    )
    with pytest.raises(ManifestError) as caught:
        read_bids_cohort(root, labels=("AD", "CN"))
    faults = [str(fault) for fault in caught.value.faults]
    assert len(faults) == 3  # the age that is no number is told in the same breath
    assert faults[0].startswith(
        "row 3, column dx: unknown label (found 'MCI' in participants.tsv row 3, "
        "participants.tsv row 6; expected AD, CN)"
    )
    assert faults[1].startswith("row 4, column dx: unknown label (found 'ad'")


def test_an_unknown_label_outside_participants_names_its_table(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d", ["participant_id"], [["1"], ["2"]])
    _phenotype(root, "clinic", ["participant_id", "dx"], [["2", "??"], ["1", "AD"]])
    with pytest.raises(ManifestError, match=r"'\?\?' in phenotype/clinic.tsv row 2"):
        read_bids_cohort(root, labels=["AD"])


def test_values_of_the_table_are_mapped_to_labels(tmp_path: Path) -> None:
    root = write_bids_cohort(
        tmp_path / "d",
        {str(at): [None] for at in range(1, 5)},
        columns=["participant_id", "dx"],
        rows=[["1", "Dementia"], ["2", "Control"], ["3", "MCI"], ["4", "n/a"]],
    )
    reading = read_bids_cohort(
        root, labels={"Dementia": "AD", "Control": "CN", "MCI": "", "Other": "FTD"}
    )
    assert reading.manifest.scans["label"].tolist()[:2] == ["AD", "CN"]
    assert reading.manifest.scans["label"].isna().tolist() == [False, False, True, True]
    assert "No scan has the label FTD." in reading.notes


def test_labels_without_a_column_are_refused(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d", ["participant_id", "cdr"], [["1", 0], ["2", 1]])
    with pytest.raises(ManifestError, match=r"no label column \(found cdr\)"):
        read_bids_cohort(root, labels=("AD", "CN"))


def test_images_that_bidsignore_names_are_no_scans(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    _image(root, "sub-1", "anat", "sub-1_acq-test_T1w.nii.gz", seed=8)
    _image(root, "sub-3", "anat", "sub-3_T1w.nii.gz", seed=9)
    (root / ".bidsignore").write_text("# tests\n*_acq-test_*\n/sub-3/\n")
    reading = read_bids_cohort(root)
    assert reading.manifest.scans["scan_id"].tolist() == ["sub-1", "sub-2"]
    assert "Left out, as .bidsignore matches them: 2 images." in reading.notes
    (root / ".bidsignore").write_text("**\n")
    with pytest.raises(ManifestError, match=r"found 4 matched by \.bidsignore"):
        read_bids_cohort(root)


def test_other_data_sets_inside_a_raw_one_are_not_read(tmp_path: Path) -> None:
    root = _two_patients(tmp_path / "d")
    for folder in ("derivatives/prepared", "sourcedata", "sub-1/sourcedata", "sub-1/derivatives/x"):
        _image(root, *folder.split("/"), "sub-1", "anat", "sub-1_desc-other_T1w.nii.gz", seed=9)
    assert read_bids_cohort(root).manifest.scans["scan_id"].tolist() == ["sub-1", "sub-2"]


def test_derivatives_are_read_with_the_tables_of_the_raw_data_set(tmp_path: Path) -> None:
    raw = _two_patients(tmp_path / "d", ["participant_id", "dx"], [["1", "AD"], ["2", "CN"]])
    root = raw / "derivatives" / "prepared"
    for patient, description in (("1", "preproc"), ("1", "linear"), ("2", "preproc")):
        name = f"sub-{patient}_space-MNI152NLin2009aSym_desc-{description}_T1w.nii.gz"
        _image(root, f"sub-{patient}", "anat", name, seed=len(name) + int(patient))
    mask = "sub-1_space-MNI152NLin2009aSym_desc-brain_mask.nii.gz"
    _image(root, "sub-1", "anat", mask, seed=99)
    _sidecar(root / "dataset_description.json", Name="prepared", DatasetType="derivative")
    with pytest.raises(ManifestError, match=r"differ in desc.*--filter desc=linear"):
        read_bids_cohort(root)
    preproc = {"desc": "preproc"}
    reading = read_bids_cohort(root, filters=preproc)
    assert reading.manifest.scans["scan_id"].tolist() == [
        "sub-1_space-MNI152NLin2009aSym_desc-preproc",
        "sub-2_space-MNI152NLin2009aSym_desc-preproc",
    ]
    assert reading.manifest.scans["label"].tolist() == ["AD", "CN"]
    assert f"The tables of {raw} are read." in reading.notes
    moved = tmp_path / "prepared"
    root.rename(moved)
    assert read_bids_cohort(moved, filters=preproc).manifest.labels == ()
    assert read_bids_cohort(moved, filters=preproc, tables=raw).manifest.labels == ("AD", "CN")
    with pytest.raises(ManifestError, match="no such folder"):
        read_bids_cohort(moved, filters=preproc, tables=tmp_path / "none")


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
