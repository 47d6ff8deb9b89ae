"""Which scans `predict` finds, and what it calls them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from mri_transfer.errors import ConfigurationError, ManifestError
from pipelines.jobs.find_scans import find_scans
from tests.phantoms import asymmetric_phantom, store_nifti, write_bids_cohort, write_tsv


def _files(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def _ids(root: Path, *sources: str) -> list[str]:
    return [one.scan_id for one in find_scans([root / name for name in sources]).requests]


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["P01/T1.nii.gz", "P02/T1.nii.gz"], ["P01_T1", "P02_T1"]),
        (["P01/mri/T1.nii", "P02/mri/T1.nii", "P03/other.nii"], ["P01_T1", "P02_T1", "other"]),
        (["A/1/T1.nii", "A/2/T1.nii", "B/1/T1.nii"], ["A_1_T1", "A_2_T1", "B_1_T1"]),
        (["T1.nii", "T1.nii.gz"], ["T1.nii", "T1.nii.gz"]),
        (["T1.nii", "x/T1.nii", "x_T1.nii"], ["scans_T1", "x_T1~1", "x_T1~2"]),
        (["a_b/T1.nii", "a/b_T1.nii", "a/T1.nii"], ["a_T1", "b_T1", "a_b_T1"]),
    ],
)
def test_scans_of_one_name_are_told_apart_by_their_folders(
    tmp_path: Path, files: list[str], names: list[str]
) -> None:
    root = _files(tmp_path / "scans", files)
    found = {str(one.path.relative_to(root)): one.scan_id for one in find_scans([root]).requests}
    assert sorted(found) == sorted(files)
    assert len(set(found.values())) == len(files)
    assert sorted(found.values()) == sorted(names)


def test_a_flat_folder_of_bids_names_is_no_data_set_and_tells_the_patients(tmp_path: Path) -> None:
    files = ["sub-001_T1w.nii.gz", "sub-002_ses-1_T1w.nii.gz", "other.nii", "note.txt", ".x.nii"]
    root = _files(tmp_path / "scans", files)
    found = find_scans([root]).requests
    assert {one.scan_id: one.patient_id for one in found} == {
        "sub-001_T1w": "sub-001",
        "sub-002_ses-1_T1w": "sub-002",
        "other": "other",
    }


def test_folders_called_as_in_bids_without_its_places_are_plain_folders(tmp_path: Path) -> None:
    root = _files(tmp_path / "scans", ["sub-01/T1.nii", "sub-02/T1.nii"])
    found = find_scans([root]).requests
    assert [(one.scan_id, one.patient_id) for one in found] == [
        ("sub-01_T1", "sub-01"),
        ("sub-02_T1", "sub-02"),
    ]


def test_one_patient_id_at_two_sites_gives_two_scans(tmp_path: Path) -> None:
    for site in ("north", "south"):
        write_bids_cohort(tmp_path / site, {"01": [None]})
    assert _ids(tmp_path, "north", "south") == ["north_sub-01", "south_sub-01"]
    assert _ids(tmp_path, "north", "north") == ["sub-01"]


def test_a_folder_without_scans_is_refused_and_says_what_was_looked_for(tmp_path: Path) -> None:
    _files(tmp_path / "scans", ["readme.txt", "sub-1/scan.dcm"])
    with pytest.raises(ConfigurationError) as refused:
        find_scans([tmp_path / "scans"])
    for part in (".nii.gz", "sub-X/anat", "sub-X/ses-Y/anat"):
        assert part in str(refused.value)


def test_what_a_data_set_leaves_out_is_told(tmp_path: Path) -> None:
    root = write_bids_cohort(tmp_path / "d", {"1": ["1"]})
    space = root / "sub-1" / "ses-1" / "anat" / "sub-1_ses-1_space-MNI_T1w.nii.gz"
    shutil.copy(store_nifti(tmp_path / "x.nii.gz", asymmetric_phantom(seed=9)), space)
    found = find_scans([root])
    assert [one.scan_id for one in found.requests] == ["sub-1_ses-1"]
    assert any("1 image left out" in note for note in found.notes)


def test_scans_to_score_need_no_label_that_can_be_understood(tmp_path: Path) -> None:
    root = write_bids_cohort(
        tmp_path / "d",
        {"01": ["a", "b"]},
        columns=["participant_id", "age", "diagnosis"],
        rows=[["1", 70, "CN"]],
    )
    rows = [["ses-a", "CN", 71], ["ses-b", "AD", 72]]
    write_tsv(root / "sub-01" / "sub-01_sessions.tsv", ["session_id", "dx", "age"], rows)
    with pytest.raises(ManifestError, match="--pad-ids"):
        find_scans([root])
    found = find_scans([root], pad_ids=True).requests
    assert [one.age_years for one in found] == [71, 72]
