"""The BIDS App: participants one by one, then the group, give what one run gives, as valid BIDS."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import pytest
from safetensors.numpy import load_file

from mri_transfer.cohorts.exclusions import read_exclusions
from pipelines.commands import bids
from pipelines.commands.bids import app
from pipelines.jobs.bids import BidsCall
from pipelines.workspace import Workspace
from tests.made_once import made_once
from tests.pipelines.conftest import SMALL, SmallJob, run_command

ROOT = Path(__file__).resolve().parents[2]


def _words(source: Path, out: Path, *more: str, settings: Sequence[str] = SMALL) -> list[str]:
    given = [word for text in settings for word in ("--set", text)]
    return [str(source), str(out), *more, *given]


def _call(source: Path, out: Path, *more: str, settings: Sequence[str] = SMALL) -> int:
    return run_command(
        *_words(source, out, *more, settings=settings), name=app.info.name, main=bids.main
    )


def _cohort(small_job: SmallJob, folder: Path, *patients: str) -> Path:
    """A copy of some patients of the small cohort."""
    shutil.copytree(
        small_job.cohort,
        folder,
        ignore=lambda _where, names: [
            name for name in names if name.startswith("sub-0") and name[:7] not in patients
        ],
    )
    return folder


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _demand_valid(out: Path) -> None:
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("bids-validator-deno", path=folders)
    if program is None:
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run(
        [program, str(out), "--format", "json"], capture_output=True, text=True, check=False
    )
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [one for one in issues if one["severity"] == "error"] == []
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def one(small_job: SmallJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of one participant of two, for tests that only read."""

    def process(folder: Path) -> None:
        cohort = _cohort(small_job, folder / "cohort", "sub-001", "sub-002")
        before = _digests(cohort)
        assert _call(cohort, folder / "out", "participant", "--participant-label", "001") == 0
        assert _digests(cohort) == before

    return made_once(tmp_path_factory, "bids_app", process) / "out"


def test_one_participant_is_processed_and_described(one: Path) -> None:
    names = [path.name for path in sorted((one / "sub-001" / "anat").iterdir())]
    assert names == [
        "sub-001_desc-vgg16_features.json",
        "sub-001_desc-vgg16_features.safetensors",
    ]
    assert not (one / "sub-002").exists()
    arrays = load_file(one / "sub-001/anat/sub-001_desc-vgg16_features.safetensors")
    described = json.loads((one / "sub-001/anat/sub-001_desc-vgg16_features.json").read_text())
    assert {name: list(array.shape) for name, array in arrays.items()} == {
        name: about["Shape"] for name, about in described["Arrays"].items()
    }
    assert arrays["features"].shape[0] == 8
    (source,) = described["Sources"]
    assert source.startswith("bids:raw:sub-001/")
    dataset = json.loads((one / "dataset_description.json").read_text())
    assert dataset["DatasetType"] == "derivative"
    raw = one.parent / "cohort"
    assert dataset["DatasetLinks"] == {"raw": raw.as_uri()}
    assert (raw / source.removeprefix("bids:raw:")).is_file()


def test_the_group_waits_for_all_participants_and_for_the_same_settings(
    one: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = one.parent / "cohort"
    assert _call(cohort, one, "group") == 1
    said = capsys.readouterr().err
    assert "1 participant not processed" in said
    assert said.rstrip().endswith(": sub-002.")
    assert _call(cohort, one, "group", settings=[*SMALL, "slices.n_slices=9"]) == 1
    said = capsys.readouterr().err
    assert "slices.n_slices: 8 -> 9" in said
    assert "sub-001, sub-002" in said
    assert not (one / "group").exists()


def test_a_participant_whose_only_scan_is_bad_is_listed(
    small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = _cohort(small_job, tmp_path / "cohort", "sub-001")
    (scan,) = cohort.rglob("*_T1w.nii.gz")
    scan.write_bytes(b"no image")
    words = ("participant", "--participant_label", "sub-001", "-w", str(tmp_path / "work"))
    assert _call(cohort, tmp_path / "out", *words) == 3
    assert "1 scan excluded" in capsys.readouterr().out
    record = json.loads((tmp_path / "work/participants/sub-001/processed.json").read_text())
    assert record["scans"] == list(record["excluded"]) == ["sub-001"]


def test_several_labels_follow_one_option(
    small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = ("--participant_label", "001", "77", "sub-88")
    assert _call(small_job.cohort, tmp_path / "out", "participant", *labels) == 1
    said = capsys.readouterr().err
    assert "2 faults" in said
    assert "found sub-77; expected sub-001, sub-002" in said
    assert "found sub-88" in said


def test_the_raw_data_set_and_those_of_others_are_not_written_to(
    small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = _cohort(small_job, tmp_path / "cohort", "sub-001")
    assert _call(cohort, cohort, "participant") == 2
    assert "mixed with the scans" in capsys.readouterr().err
    (tmp_path / "theirs").mkdir()
    description = tmp_path / "theirs" / "dataset_description.json"
    description.write_text('{"GeneratedBy": [{"Name": "fMRIPrep"}]}')
    assert _call(cohort, tmp_path / "theirs", "participant") == 2
    assert "found fMRIPrep" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == [description.name]


@pytest.mark.parametrize(
    ("filters", "part"),
    [
        ({}, "all"),
        ({"sub": ["sub-01"]}, "sub-01"),
        ({"sub": ["01"]}, "sub-01"),
        ({"sub": ["02", "01"]}, "sub-01_"),
        ({"ses": ["1"]}, "all_"),
        ({"sub": ["01"], "ses": ["1"]}, "sub-01_"),
    ],
)
def test_each_choice_of_participants_has_a_folder_of_its_own(
    small_job: SmallJob, filters: dict[str, list[str]], part: str
) -> None:
    def name(chosen: dict[str, list[str]]) -> str:
        folder = Path("x")
        return BidsCall(
            source=folder, out=folder, work=folder, filters=chosen, config=small_job.config
        ).part

    assert name(filters).startswith(part)
    assert name(filters) == name({key: values[::-1] for key, values in filters.items()})
    assert name(filters) != name({**filters, "sub": [*filters.get("sub", []), "03"]})


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("-v", name="mri-transfer-bids", main=bids.main) == 0
    assert capsys.readouterr().out.startswith("mri-transfer ")


@pytest.mark.slow
def test_participants_side_by_side_and_then_the_group_are_what_one_run_is(
    small_job: SmallJob, pristine: Workspace, tmp_path: Path
) -> None:
    out = tmp_path / "cohort" / "derivatives" / "mri-transfer"
    cohort = _cohort(small_job, tmp_path / "cohort", *(f"sub-00{n}" for n in range(1, 9)))
    labels = [path.name for path in sorted(cohort.glob("sub-*"))]
    jobs = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "pipelines.commands.bids"),
                *_words(cohort, out, "participant", "--jobs", "1", "--participant-label", *some),
            ],
            cwd=ROOT,
        )
        for some in (labels[::2], labels[1::2])
    ]
    assert [job.wait(timeout=600) for job in jobs] == [0, 0]
    assert _call(cohort, out, "group") in (0, 3)
    group = Workspace(root=out / "group", cache=out / "work")
    assert group.patient_scores.read_bytes() == pristine.patient_scores.read_bytes()
    assert read_exclusions(group.excluded) == read_exclusions(pristine.excluded)
    assert group.report.is_file()
    dataset = json.loads((out / "dataset_description.json").read_text())
    assert dataset["DatasetLinks"] == {"raw": "../.."}
    _demand_valid(out)


@pytest.mark.slow
def test_prepared_scans_are_valid_derivatives(small_job: SmallJob, tmp_path: Path) -> None:
    cohort = _cohort(small_job, tmp_path / "cohort", "sub-002", "sub-003")
    settings = [*SMALL, "preparation.scans=all"]
    keep = [word for name in ("sub-002", "sub-003_ses-01") for word in ("--keep", name)]
    assert _call(cohort, tmp_path / "out", "participant", *keep, settings=settings) in (0, 3)
    folder = tmp_path / "out" / "sub-003" / "ses-01" / "anat"
    volume = folder / "sub-003_ses-01_space-MNI152NLin2009aSym_desc-preproc_T1w.nii.gz"
    assert nib.load(volume).shape == (161, 197, 167)
    sidecar = json.loads(volume.with_name(volume.name.replace(".nii.gz", ".json")).read_text())
    (source,) = sidecar["Sources"]
    assert (cohort / source.removeprefix("bids:raw:")).is_file()
    features = json.loads((folder / "sub-003_ses-01_desc-vgg16_features.json").read_text())
    assert features["Sources"] == [f"bids::{volume.relative_to(tmp_path / 'out').as_posix()}"]
    _demand_valid(tmp_path / "out")
