"""Who is scanned, and when: ids that nearly match, diagnoses at visits, one image a scan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.readers.id_matching import likely_ids, likely_keys
from mri_transfer.errors import ManifestError
from tests.phantoms import asymmetric_phantom, store_nifti, write_bids_cohort, write_tsv

ENTRY = ["participant_id", "diagnosis"]


def _visits(root: Path, patient: str, rows: Sequence[Sequence[object]], *columns: str) -> None:
    name = f"sub-{patient}"
    write_tsv(root / name / f"{name}_sessions.tsv", ["session_id", *columns], rows)


@pytest.mark.parametrize(
    ("table", "images", "found"),
    [
        (["50701"], ["0050701"], {"50701": "0050701"}),
        (["0050701"], ["50701"], {"0050701": "50701"}),
        (["ses-M06"], ["ses-M006"], {"ses-M06": "ses-M006"}),
        (["ses-m6"], ["ses-M006"], {"ses-m6": "ses-M006"}),
        (["A1B02"], ["A01B2"], {"A1B02": "A01B2"}),
        # What agrees is not matched again, and nothing is matched that could be two.
        (["1", "01"], ["01"], {}),
        (["1", "01"], ["001"], {}),
        (["1"], ["01", "001"], {}),
        (["10"], ["1"], {}),
        (["0"], ["000"], {"0": "000"}),
    ],
)
def test_only_zeros_and_capitals_make_a_likely_match(
    table: list[str], images: list[str], found: dict[str, str]
) -> None:
    assert likely_ids(table, images) == found


def test_sessions_are_matched_within_their_patient() -> None:
    table = [("1", None), ("1", "ses-1"), ("2", "ses-1")]
    images = [("01", "ses-01"), ("2", "ses-1"), ("3", "ses-001")]
    assert likely_keys(table, images) == {
        ("1", None): ("01", None),
        ("1", "ses-1"): ("01", "ses-01"),
    }


def test_a_visit_that_its_own_table_calls_ad_is_never_written_as_cn(tmp_path: Path) -> None:
    root = write_bids_cohort(tmp_path / "d", {"1": ["M006"]}, columns=ENTRY, rows=[["1", "CN"]])
    _visits(root, "1", [["ses-M06", "AD"]], "diagnosis")
    with pytest.raises(ManifestError) as refused:
        read_bids_cohort(root)
    said = str(refused.value)
    assert "sub-1/sub-1_sessions.tsv" in said
    assert "sub-1 ses-M06 (image: sub-1 ses-M006)" in said
    assert "--pad-ids" in said
    reading = read_bids_cohort(root, pad_ids=True)
    assert reading.manifest.labels == ("AD",)
    assert any("ids matched" in note and "ses-M06" in note for note in reading.notes)


def test_the_diagnosis_at_a_visit_wins_and_that_at_entry_is_not_used_in_its_place(
    tmp_path: Path,
) -> None:
    root = write_bids_cohort(
        tmp_path / "d",
        {"1": ["M00", "M36"], "2": ["M00"], "3": [None]},
        columns=ENTRY,
        rows=[["1", "CN"], ["2", "CN"], ["3", "CN"]],
    )
    _visits(root, "1", [["ses-M00", "AD"], ["ses-M12", "AD"]], "diagnosis")
    _visits(root, "2", [["ses-M00", 71]], "age")
    reading = read_bids_cohort(root)
    labels = reading.manifest.scans.set_index("scan_id")["label"]
    assert labels["sub-1_ses-M00"] == "AD"
    assert labels.isna()["sub-1_ses-M36"]
    # Nothing is said of diagnoses at visits of these: what holds for the patient holds.
    assert labels["sub-2_ses-M00"] == labels["sub-3"] == "CN"
    told = "\n".join(reading.notes)
    assert "Visits in the tables without an image, left out: sub-1 ses-M12." in told
    assert "Images of visits that are not in the tables" in told
    assert "Without a label" in told
    assert told.count("sub-1_ses-M36") == 2


def test_an_empty_diagnosis_at_a_visit_is_not_filled_from_entry(tmp_path: Path) -> None:
    root = write_bids_cohort(tmp_path / "d", {"1": ["a", "b"]}, columns=ENTRY, rows=[["1", "CN"]])
    _visits(root, "1", [["ses-a", "CN"], ["ses-b", "n/a"]], "diagnosis")
    scans = read_bids_cohort(root).manifest.scans
    assert scans["label"].isna().tolist() == [False, True]


@pytest.mark.parametrize("place", ["sessions", "phenotype"])
def test_a_diagnosis_at_visits_under_another_name_is_not_passed_over(
    tmp_path: Path, place: str
) -> None:
    root = write_bids_cohort(tmp_path / "d", {"1": ["a"]}, columns=ENTRY, rows=[["1", "CN"]])
    if place == "sessions":
        _visits(root, "1", [["ses-a", "AD"]], "dx")
        column = "dx"
    else:
        path = root / "phenotype" / "clinic.tsv"
        write_tsv(path, ["participant_id", "session_id", "diagnosis"], [["1", "a", "AD"]])
        column = "clinic.diagnosis"
    with pytest.raises(ManifestError, match=f"diagnosis, {column}.*--label-column"):
        read_bids_cohort(root)
    assert read_bids_cohort(root, label_column=column).manifest.labels == ("AD",)


@pytest.mark.parametrize("table", ["participants.tsv", "phenotype/clinic.tsv"])
def test_participants_that_lost_their_zeros_are_proposed_not_guessed(
    tmp_path: Path, table: str
) -> None:
    root = write_bids_cohort(tmp_path / "d", {"0050701": [None], "0050702": [None]})
    rows = [["50701", "AD"], ["50702", "CN"]]
    write_tsv(root / table, ["participant_id", "dx"], rows)
    with pytest.raises(
        ManifestError, match=rf"(?s){table}.*row 2, .*sub-50701 \(image: sub-0050701"
    ):
        read_bids_cohort(root)
    reading = read_bids_cohort(root, pad_ids=True)
    assert reading.manifest.scans["label"].tolist() == ["AD", "CN"]
    assert any(table in note and "sub-50701" in note for note in reading.notes)


def test_faults_name_the_table_that_the_cell_stands_in(tmp_path: Path) -> None:
    root = write_bids_cohort(
        tmp_path / "d",
        {"1": ["a", "b"], "2": ["a"]},
        columns=["participant_id", "age", "diagnosis"],
        rows=[["2", 61, "CN"], ["1", "old", "CN"]],
    )
    _visits(root, "1", [["ses-a", "n/a", "AD"], ["ses-b", 200, "CN"]], "age", "diagnosis")
    write_tsv(root / "phenotype" / "a.tsv", ["participant_id", "Sex"], [["x", "F"], ["2", "?"]])
    with pytest.raises(ManifestError) as refused:
        read_bids_cohort(root)
    said = [str(fault) for fault in refused.value.faults]
    assert len(said) == 4
    assert any(one.startswith("row 3, column age: age is not a number") for one in said)
    assert any("sub-1/sub-1_sessions.tsv row 3, column age: age is out of range" in o for o in said)
    assert any("phenotype/a.tsv row 3, column Sex: unknown value of sex" in one for one in said)
    [two] = [one for one in said if "different values of label" in one]
    assert "AD (sub-1/sub-1_sessions.tsv row 2), CN (sub-1/sub-1_sessions.tsv row 3)" in two


LEVELS = {"1": "male participants", "2": {"Description": "Female"}, "3": "other"}


def test_codes_of_sex_are_read_by_the_levels_of_the_tables_json(tmp_path: Path) -> None:
    root = write_bids_cohort(
        tmp_path / "d",
        {name: [None] for name in "12345"},
        columns=["participant_id", "sex", "dx"],
        rows=[[1, 1, "AD"], [2, 2, "CN"], [3, 3, "CN"], [4, "O", "CN"], [5, "f", "CN"]],
    )
    described = {"sex": {"Description": "sex", "Levels": LEVELS}}
    (root / "participants.json").write_text(json.dumps(described))
    reading = read_bids_cohort(root)
    assert reading.manifest.scans["sex"].fillna("").tolist() == ["M", "F", "", "", "F"]
    assert any("1 is M, 2 is F, 3 is other" in note for note in reading.notes)
    assert any("Sex is other for 2 patients" in note for note in reading.notes)


@pytest.mark.parametrize(
    "described", [None, "no object", {"sex": {"Levels": {"1": "men or women", "2": "women"}}}]
)
def test_codes_without_a_clear_level_are_refused(tmp_path: Path, described: object) -> None:
    root = write_bids_cohort(
        tmp_path / "d", {"1": [None]}, columns=["participant_id", "sex"], rows=[["1", "1"]]
    )
    if described is not None:
        (root / "participants.json").write_text(json.dumps(described))
    with pytest.raises(ManifestError, match="unknown value of sex"):
        read_bids_cohort(root)


MNI = "space-MNI152NLin2009cAsym"
VERSIONS = ("", f"_{MNI}", f"_{MNI}_res-2")


def _derivatives(root: Path, patients: Sequence[str], versions: Sequence[str] = VERSIONS) -> Path:
    for number, patient in enumerate(patients):
        for at, version in enumerate(versions):
            name = f"sub-{patient}_ses-1{version}_desc-preproc_T1w.nii.gz"
            image = asymmetric_phantom(seed=10 * number + at)
            store_nifti(root / f"sub-{patient}" / "ses-1" / "anat" / name, image)
    return root


def test_of_images_in_several_spaces_one_a_scan_is_taken_by_a_stated_rule(tmp_path: Path) -> None:
    root = _derivatives(tmp_path / "d", ["1", "2"])
    reading = read_bids_cohort(root)
    names = [f"sub-{n}_ses-1_desc-preproc" for n in "12"]
    assert reading.manifest.scans["scan_id"].tolist() == names
    assert any("4 images left out" in note and "--space" in note for note in reading.notes)
    standard = read_bids_cohort(root, space=MNI)
    names = [f"sub-{n}_ses-1_{MNI}_desc-preproc" for n in "12"]
    assert standard.manifest.scans["scan_id"].tolist() == names
    coarse = read_bids_cohort(root, filters={"res": "2"})
    assert coarse.manifest.scans["scan_id"].str.contains("res-2").all()
    native = read_bids_cohort(root, space="native")
    assert native.manifest.scans.equals(reading.manifest.scans)
    with pytest.raises(ManifestError, match="found MNI; expected MNI152NLin2009cAsym, native"):
        read_bids_cohort(root, space="MNI")


def test_two_spaces_of_which_neither_is_native_are_refused(tmp_path: Path) -> None:
    root = _derivatives(tmp_path / "d", ["1"], [f"_{MNI}", "_space-T1w"])
    with pytest.raises(ManifestError, match=r"differ in space.*Choose one with --space"):
        read_bids_cohort(root)
    assert len(read_bids_cohort(root, space="T1w").manifest.scans) == 1


def test_patients_in_different_spaces_are_told(tmp_path: Path) -> None:
    root = _derivatives(tmp_path / "d", ["1", "2"])
    for path in root.glob("sub-2/ses-1/anat/sub-2_ses-1_desc*"):
        path.unlink()
    reading = read_bids_cohort(root)
    assert any(f"{MNI[6:]} (1), native (1)" in note and "leaks" in note for note in reading.notes)
    native = read_bids_cohort(root, space="native")
    assert any("Scans without an image in space native" in note for note in native.notes)
