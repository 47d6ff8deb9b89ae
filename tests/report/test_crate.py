"""RO-Crate of a run folder: every file that exists with its hash, no patient's name, no clock."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from rocrate.rocrate import ROCrate

from mri_transfer.errors import RunFolderError
from mri_transfer.report.pages.crate import CRATE_NAME, RecordedStage, run_crate, write_crate
from mri_transfer.scans.preparation.store import write_description

FILES = ("config.toml", "source_manifest.csv", "refused.csv", "heads/r0_f0.safetensors",
         "report/index.html", "explanations/group_AD.nii.gz", "odd name #1.json")  # fmt: skip
STAGES = (
    RecordedStage(
        name="check", inputs=("source_manifest.csv",), outputs=("refused.csv",), version="0.1.0",
        commit=None, packages={"numpy": "2.4.6", "python": "3.11.7"},
        started="2026-01-31T23:59:30+00:00", seconds=45.6,
    ),
    RecordedStage(
        name="train", inputs=("refused.csv", "gone.csv", "config.toml"),
        outputs=("heads/r0_f0.safetensors", "explanations/group_AD.nii.gz", "odd name #1.json"),
        version="0.1.0", commit="abc", packages={"numpy": "2.4.6"},
        started="2026-01-31T22:00:00-03:00", seconds=1.0,
    ),
    RecordedStage(
        name="report", inputs=("refused.csv",), outputs=("report/index.html",), version="0.1.0",
        commit=None, packages={"numpy": "2.4.6", "python": "3.11.7"},
    ),
)  # fmt: skip
WORDS = {"title": "A & B", "description": "What it is"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with folders whose file names hold a patient's id."""
    folder = tmp_path / "run"
    for i, name in enumerate(FILES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * (i + 3))
    for name in ("prepared/sub-SECRET/anat/a.nii.gz", "quality/scans/SECRET.html",
                 "report/volumes/SECRET.html", "records/check.json"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"y")
    write_description(folder / "prepared", version="0.1.0")
    return folder


def entities(crate: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entities of a crate by their names."""
    found = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(found) == len(crate["@graph"])
    return found


def ids(values: Any) -> list[str]:
    """Return the names that a property points to."""
    return [value["@id"] for value in (values if isinstance(values, list) else [values])]


def test_a_crate_is_read_back_and_all_its_parts_exist(run: Path) -> None:
    write_crate(run, STAGES, **WORDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        crate = ROCrate(run)
    parts = {entity.id for entity in crate.data_entities}
    assert parts == {
        "config.toml", "source_manifest.csv", "refused.csv", "heads/r0_f0.safetensors",
        "report/index.html", "explanations/group_AD.nii.gz", "odd%20name%20%231.json",
        "prepared/", "quality/", "report/volumes/", "records/", "prepared/dataset_description.json",
    }  # fmt: skip
    assert all(Path(entity.source).exists() for entity in crate.data_entities)
    assert crate.name == "A & B"


def test_nothing_but_the_description_is_written(run: Path) -> None:
    def content() -> dict[str, bytes]:
        return {path.relative_to(run).as_posix(): path.read_bytes()
                for path in run.rglob("*") if path.is_file()}  # fmt: skip

    before = content()
    write_crate(run, STAGES, **WORDS)
    after = content()
    after.pop(CRATE_NAME)
    assert after == before


def test_each_file_has_its_hash_size_and_format(run: Path) -> None:
    found = entities(run_crate(run, STAGES, **WORDS))
    for name, kind in {
        "refused.csv": "text/csv",
        "heads/r0_f0.safetensors": "application/octet-stream",
        "report/index.html": "text/html",
        "explanations/group_AD.nii.gz": "application/gzip",
        "prepared/dataset_description.json": "application/json",
    }.items():
        content = (run / name).read_bytes()
        assert found[name]["@type"] == "File"
        assert found[name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert found[name]["contentSize"] == str(len(content))
        assert found[name]["encodingFormat"] == kind


def test_no_file_name_of_a_patient_is_listed(run: Path) -> None:
    stage = dataclasses.replace(
        STAGES[0],
        outputs=(
            "refused.csv",
            "quality/scans/SECRET.html",
            "report/volumes/SECRET.html",
            "prepared/sub-SECRET/x.json",
        ),
    )
    assert "SECRET" not in json.dumps(run_crate(run, (stage,), **WORDS))


def test_each_stage_is_an_action_on_files_that_are_listed(run: Path) -> None:
    found = entities(run_crate(run, STAGES, **WORDS))
    assert ids(found["./"]["mentions"]) == ["#stage-check", "#stage-train", "#stage-report"]
    train = found["#stage-train"]
    assert train["@type"] == "CreateAction"
    assert ids(train["object"]) == ["config.toml", "refused.csv"]
    assert ids(train["result"]) == sorted(
        ["heads/r0_f0.safetensors", "explanations/group_AD.nii.gz", "odd%20name%20%231.json"]
    )
    software = found[ids(train["instrument"])[0]]
    assert (software["name"], software["softwareVersion"]) == ("mri-transfer", "0.1.0, abc")
    assert ids(software["softwareRequirements"]) == ["#numpy-2.4.6"]
    assert found["#numpy-2.4.6"]["softwareVersion"] == "2.4.6"
    for entity in found.values():
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                target = one.get("@id", "./") if isinstance(one, dict) else "./"
                assert target in found or target == "https://w3id.org/ro/crate/1.1"


def test_dates_are_those_of_the_records(run: Path) -> None:
    found = entities(run_crate(run, STAGES, **WORDS))
    assert found["#stage-check"]["startTime"] == "2026-01-31T23:59:30+00:00"
    assert found["#stage-check"]["endTime"] == "2026-02-01T00:00:15+00:00"
    assert "startTime" not in found["#stage-report"]
    # 22:00 three hours west is later than midnight in Greenwich, though it sorts before it.
    assert found["./"]["datePublished"] == "2026-01-31T22:00:01-03:00"


def test_the_same_files_and_records_give_the_same_bytes(run: Path) -> None:
    write_crate(run, STAGES, **WORDS)
    first = (run / CRATE_NAME).read_bytes()
    for path in run.rglob("*"):
        os.utime(path, (time.time() + 1000, 5))
    shuffled = tuple(
        dataclasses.replace(
            stage,
            inputs=stage.inputs[::-1],
            outputs=stage.outputs[::-1],
            packages=dict(reversed(copy.copy(stage.packages).items())),
        )
        for stage in STAGES
    )
    write_crate(run, shuffled, **WORDS)
    assert (run / CRATE_NAME).read_bytes() == first


def test_terms_licence_and_profile_are_declared(run: Path) -> None:
    crate = run_crate(run, STAGES, **WORDS)
    assert crate["@context"] == [
        "https://w3id.org/ro/crate/1.1/context", {"sha256": "http://schema.org/sha256"},
    ]  # fmt: skip
    found = entities(crate)
    root = found["./"]
    assert ids(root["conformsTo"]) == ["https://w3id.org/ro/wfrun/process/0.5"]
    assert found[ids(root["license"])[0]]["name"] == "For the authors to supply"
    assert list(found)[:2] == [CRATE_NAME, "./"]
    assert list(found)[2:] == sorted(list(found)[2:])


def test_prepared_scans_conform_to_bids_where_they_have_a_description(run: Path) -> None:
    prepared = entities(run_crate(run, STAGES, **WORDS))["prepared/"]
    assert ids(prepared["hasPart"]) == ["prepared/dataset_description.json"]
    assert "bids" in ids(prepared["conformsTo"])[0]
    description = json.loads((run / "prepared/dataset_description.json").read_text())
    # What the BIDS specification, derivatives, asks for.
    assert description["DatasetType"] == "derivative"
    assert {"Name", "BIDSVersion", "GeneratedBy"} <= description.keys()
    assert all("Name" in one for one in description["GeneratedBy"])
    (run / "prepared/dataset_description.json").unlink()
    bare = entities(run_crate(run, STAGES, **WORDS))["prepared/"]
    assert "conformsTo" not in bare
    assert "hasPart" not in bare


def test_a_run_without_records_has_no_date_and_is_refused(run: Path) -> None:
    with pytest.raises(RunFolderError, match="no stage of the run has a record"):
        run_crate(run, STAGES[2:], **WORDS)
