"""The reader of CAPS folders: Clinica's t1-linear images and its tables of labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mri_transfer.cohorts.readers.caps.reader import read_caps_cohort
from mri_transfer.errors import ManifestError
from tests.phantoms import asymmetric_phantom, store_nifti, write_tsv

CROPPED = "_space-MNI152NLin2009cSym_desc-Crop_res-1x1x1_T1w.nii.gz"
UNCROPPED = "_space-MNI152NLin2009cSym_res-1x1x1_T1w.nii.gz"
SESSIONS = ("A1 M000", "A1 M012", "C1 M000", "C2 M000")
COLUMNS = ["participant_id", "session_id", "diagnosis", "age", "sex", "MMSE", "examination_date"]
ROWS = [
    ["sub-A1", "ses-M000", "AD", 71.5, "F", 22, "2009-01-01"],
    ["sub-A1", "ses-M012", "AD", 72.5, "F", 20, "2010-01-01"],
    ["sub-C1", "ses-M000", "CN", 66, "M", 30, "2009-01-01"],
    ["sub-C2", "ses-M000", "CN", 69, "F", "n/a", "2009-01-01"],
]


def write_caps(
    root: Path, sessions: Iterable[str] = SESSIONS, endings: Iterable[str] = (CROPPED, UNCROPPED)
) -> Path:
    """Write what t1-linear leaves behind."""
    (root / "subjects").mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"DatasetType": "derivative"}')
    for seed, session in enumerate(sessions):
        patient, visit = session.split()
        stem = f"sub-{patient}_ses-{visit}"
        folder = root / "subjects" / f"sub-{patient}" / f"ses-{visit}" / "t1_linear"
        for at, ending in enumerate(endings):
            store_nifti(folder / f"{stem}{ending}", asymmetric_phantom(seed=2 * seed + at))
        (folder / f"{stem}_space-MNI152NLin2009cSym_res-1x1x1_affine.mat").write_bytes(b"x")
    return root


@pytest.fixture(scope="module")
def caps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CAPS folder of 3 patients, one with two sessions. Read only."""
    return write_caps(tmp_path_factory.mktemp("caps") / "CAPS")


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_tsv(tmp_path / "labels.tsv", COLUMNS, ROWS)


def _noted(notes: Iterable[str], *parts: str) -> bool:
    return any(all(part in note for part in parts) for note in notes)


def test_sessions_labels_and_covariates(caps: Path, labels: Path) -> None:
    reading = read_caps_cohort(caps, labels=labels)
    scans = reading.manifest.scans
    assert scans["scan_id"].tolist() == [
        "sub-A1_ses-M000",
        "sub-A1_ses-M012",
        "sub-C1_ses-M000",
        "sub-C2_ses-M000",
    ]
    assert scans["patient_id"].tolist() == ["sub-A1", "sub-A1", "sub-C1", "sub-C2"]
    assert scans["session_id"].tolist() == ["ses-M000", "ses-M012", "ses-M000", "ses-M000"]
    assert scans["label"].tolist() == ["AD", "AD", "CN", "CN"]
    assert scans["age"].tolist() == [71.5, 72.5, 66, 69]
    assert scans["MMSE"].tolist()[:3] == [22, 20, 30]
    assert scans["MMSE"].isna().tolist() == [False, False, False, True]
    assert scans["path"].str.endswith(CROPPED).all()
    assert _noted(reading.notes, "read from the column diagnosis")
    assert _noted(reading.notes, "Non-numeric columns left out: examination_date")
    assert not _noted(reading.notes, "left out, as only")


def test_the_uncropped_images_can_be_asked_for(caps: Path, labels: Path) -> None:
    scans = read_caps_cohort(caps, labels=labels, cropped=False).manifest.scans
    assert scans["path"].str.endswith(UNCROPPED).all()
    assert not scans["path"].str.contains("desc-Crop").any()
    assert len(scans) == 4


def test_sessions_with_the_other_image_only_are_named(tmp_path: Path) -> None:
    root = write_caps(tmp_path / "CAPS", ["A1 M000"])
    write_caps(tmp_path / "more", ["C1 M000"], [UNCROPPED])
    (tmp_path / "more" / "subjects" / "sub-C1").rename(root / "subjects" / "sub-C1")
    reading = read_caps_cohort(root)
    assert reading.manifest.scans["patient_id"].tolist() == ["sub-A1"]
    assert _noted(reading.notes, "only the uncropped image exists: sub-C1_ses-M000.")


def test_runs_of_one_session_are_scans_of_their_own(tmp_path: Path) -> None:
    root = write_caps(tmp_path / "CAPS", ["A1 M000"], [f"_run-1{CROPPED}", f"_run-2{CROPPED}"])
    scans = read_caps_cohort(root).manifest.scans
    assert scans["scan_id"].tolist() == ["sub-A1_ses-M000_run-1", "sub-A1_ses-M000_run-2"]


def test_without_tables_all_labels_are_missing(caps: Path) -> None:
    reading = read_caps_cohort(caps)
    assert reading.manifest.scans["label"].isna().all()
    assert _noted(reading.notes, "No label table")
    assert not _noted(reading.notes, "not in the label tables")


def test_a_folder_of_tables_is_read_whole(caps: Path, tmp_path: Path) -> None:
    folder = tmp_path / "split"
    write_tsv(folder / "AD.tsv", COLUMNS[:4], [row[:4] for row in ROWS[:2]])
    write_tsv(folder / "CN.tsv", COLUMNS[:3], [row[:3] for row in ROWS[2:]])
    # ClinicaDL writes the sessions at baseline once more.
    write_tsv(folder / "AD_baseline.tsv", COLUMNS[:3], [row[:3] for row in ROWS[:1]])
    (folder / "notes.txt").write_text("x")
    for named in (folder, [folder / "AD.tsv", str(folder / "CN.tsv")]):
        scans = read_caps_cohort(caps, labels=named).manifest.scans
        assert scans["label"].tolist() == ["AD", "AD", "CN", "CN"]
        assert scans["age"].isna().tolist() == [False, False, True, True]


def test_sessions_and_rows_that_do_not_meet_are_named(caps: Path, tmp_path: Path) -> None:
    rows = [
        *ROWS[:3],
        ["sub-C1", "ses-M024", "CN", 68, "M", 30, ""],
        ["sub-X", "", "CN", 1, "M", 1, ""],
    ]
    reading = read_caps_cohort(caps, labels=write_tsv(tmp_path / "t.tsv", COLUMNS, rows))
    assert _noted(reading.notes, "without an image, left out: sub-C1 ses-M024, sub-X.")
    assert _noted(reading.notes, "Images that are not in the label tables: sub-C2_ses-M000.")
    assert _noted(reading.notes, "1 of 4 scans have no label")


def test_a_table_of_patients_speaks_of_all_their_sessions(caps: Path, tmp_path: Path) -> None:
    patients = write_tsv(
        tmp_path / "p.tsv", ["participant_id", "diagnosis", "age"], [["sub-A1", "AD", 70]]
    )
    sessions = write_tsv(
        tmp_path / "s.tsv", ["participant_id", "session_id", "age"], [["sub-A1", "ses-M012", 71]]
    )
    scans = read_caps_cohort(caps, labels=[patients, sessions]).manifest.scans
    assert scans["label"].fillna("none").tolist() == ["AD", "AD", "none", "none"]
    assert scans["age"].tolist()[:2] == [70, 71]


def test_another_column_can_hold_the_label(caps: Path, tmp_path: Path) -> None:
    table = write_tsv(
        tmp_path / "t.tsv",
        ["participant_id", "session_id", "diagnosis", "group"],
        [["sub-A1", "ses-M000", "AD", "sAD"]],
    )
    reading = read_caps_cohort(caps, labels=table, label_column="group")
    assert reading.manifest.labels == ("sAD",)
    assert _noted(reading.notes, "Non-numeric columns left out: diagnosis")
    with pytest.raises(ManifestError, match=r"no such label column .*found diagnosis, group"):
        read_caps_cohort(caps, labels=table, label_column="dx")


@pytest.mark.parametrize(
    ("columns", "rows", "says"),
    [
        (["subject", "diagnosis"], [["sub-A1", "AD"]], "the column is missing"),
        (COLUMNS[:3], [*[row[:3] for row in ROWS[:1]] * 2], "two rows about one session"),
        (COLUMNS[:3], [["n/a", "ses-M000", "AD"]], "the cell is empty"),
        (COLUMNS[:3], [["sub-A1", "ses-M000"]], "different numbers of cells"),
        (
            COLUMNS[:3],
            [["sub-A1", "ses-M000", "CN"], ["sub-A1", "ses-M012", "AD"]],
            "2 different values of label",
        ),
        (COLUMNS[:4], [["sub-A1", "ses-M000", "AD", "89+"]], "row 2, column age"),
    ],
)
def test_a_faulty_table_is_refused(
    caps: Path, tmp_path: Path, columns: list[str], rows: list[list[Any]], says: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        read_caps_cohort(caps, labels=write_tsv(tmp_path / "t.tsv", columns, rows))
    assert says in str(caught.value)
    assert "t.tsv" in str(caught.value)


def test_tables_that_contradict_each_other_are_refused(caps: Path, tmp_path: Path) -> None:
    first = write_tsv(tmp_path / "AD.tsv", COLUMNS[:3], [["sub-A1", "ses-M000", "AD"]])
    second = write_tsv(tmp_path / "CN.tsv", COLUMNS[:3], [["sub-A1", "ses-M000", "CN"]])
    with pytest.raises(ManifestError, match=r"CN\.tsv.*\n.*row 2, column diagnosis: another table"):
        read_caps_cohort(caps, labels=[first, second])


def test_a_folder_that_is_no_caps_is_refused(tmp_path: Path, labels: Path) -> None:
    with pytest.raises(ManifestError, match="no folder subjects"):
        read_caps_cohort(tmp_path)
    with pytest.raises(ManifestError, match="no such folder"):
        read_caps_cohort(tmp_path / "none")
    (tmp_path / "CAPS" / "subjects").mkdir(parents=True)
    with pytest.raises(ManifestError, match="no cropped t1-linear image"):
        read_caps_cohort(tmp_path / "CAPS")
    (tmp_path / "tables").mkdir()
    with pytest.raises(ManifestError, match="has no label table"):
        read_caps_cohort(write_caps(tmp_path / "other", ["A1 M000"]), labels=tmp_path / "tables")
    only = write_caps(tmp_path / "uncropped", ["A1 M000"], [UNCROPPED])
    with pytest.raises(ManifestError, match="Use the uncropped images"):
        read_caps_cohort(only)


def test_an_image_in_another_patients_folder_is_refused(tmp_path: Path) -> None:
    root = write_caps(tmp_path / "CAPS", ["A1 M000"])
    folder = root / "subjects" / "sub-A1" / "ses-M000" / "t1_linear"
    store_nifti(folder / f"sub-A10_ses-M000{CROPPED}", asymmetric_phantom(seed=9))
    with pytest.raises(ManifestError, match="different patients or sessions"):
        read_caps_cohort(root)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    root = write_caps(tmp_path / "CAPS", ["A1 M000"])
    (root / "subjects" / "sub-A1").rename(tmp_path / "sub-A1")
    (root / "subjects" / "sub-A1").symlink_to(tmp_path / "sub-A1", target_is_directory=True)
    with pytest.raises(ManifestError, match="symbolic link"):
        read_caps_cohort(root)


def test_sessions_that_nearly_match_are_proposed_not_guessed(caps: Path, tmp_path: Path) -> None:
    rows = [[row[0], row[1].replace("M0", "M"), *row[2:]] for row in ROWS]
    table = write_tsv(tmp_path / "labels.tsv", COLUMNS, rows)
    with pytest.raises(ManifestError) as refused:
        read_caps_cohort(caps, labels=table)
    assert "labels.tsv" in str(refused.value)
    assert "sub-A1 ses-M12 (image: sub-A1 ses-M012)" in str(refused.value)
    assert "--pad-ids" in str(refused.value)
    reading = read_caps_cohort(caps, labels=table, pad_ids=True)
    assert reading.manifest.scans["label"].tolist() == ["AD", "AD", "CN", "CN"]
    assert _noted(reading.notes, "ids matched", "ses-M12")


def test_a_diagnosis_at_entry_does_not_hold_at_a_visit_without_one(
    caps: Path, tmp_path: Path
) -> None:
    rows = [["sub-A1", "n/a", "CN"], ["sub-A1", "ses-M012", "AD"], ["sub-C1", "n/a", "CN"]]
    table = write_tsv(tmp_path / "labels.tsv", COLUMNS[:3], rows)
    labels = read_caps_cohort(caps, labels=table).manifest.scans["label"]
    assert labels.fillna("").tolist() == ["", "AD", "CN", ""]
