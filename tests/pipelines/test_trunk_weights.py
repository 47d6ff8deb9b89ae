"""A run on a trunk whose weights nobody knows beforehand: the first reading settles them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from mri_transfer.errors import ConfigurationError, WeightsError
from mri_transfer.models.trunks import TRUNKS, TrunkSpec
from pipelines.config import RunConfig, read_config
from pipelines.runner import RunOutcome, begin_run, run_pipeline, stages_until
from pipelines.trunk_weights import size_note
from pipelines.workspace import Workspace
from tests.pipelines.conftest import Notes, SmallJob


@pytest.fixture(scope="module")
def config(small_job: SmallJob) -> RunConfig:
    return dataclasses.replace(small_job.config, trunk=TrunkSpec(name="alexnet"))


def _file(folder: Path, seed: int) -> Path:
    tensors = TRUNKS["alexnet"].random_weights(seed).tensors
    path = folder / f"{seed}.pth"
    torch.save({key: torch.from_numpy(values) for key, values in tensors.items()}, path)
    return path


def _run(
    small_job: SmallJob, workspace: Workspace, config: RunConfig, weights: Path | None
) -> Notes:
    notes = Notes()
    opened = begin_run(small_job.manifest, workspace.root, config, cache=workspace.cache)
    run_pipeline(opened, config, stages=stages_until("features"), reporter=notes, weights=weights)
    return notes


def test_the_weights_of_the_first_run_are_those_of_the_folder(
    small_job: SmallJob, finished: RunOutcome, config: RunConfig, tmp_path: Path
) -> None:
    workspace = Workspace(root=tmp_path / "run", cache=finished.workspace.cache)
    with pytest.raises(WeightsError, match=r"no source.*--weights PATH.*torchvision"):
        _run(small_job, workspace, config, None)
    first = _run(small_job, workspace, config, _file(tmp_path, 1))
    digest = TRUNKS["alexnet"].random_weights(1).digest
    assert read_config(workspace.config).trunk == dataclasses.replace(config.trunk, digest=digest)
    assert any(f"trunk alexnet, weights {digest[:12]}" in note for note in first.notes)
    # The same command finds everything done; the file is needed no more.
    again = _run(small_job, workspace, config, None)
    assert again.notes.count("current, nothing to do") == 4
    # Another file is not taken for the one that the run was begun with.
    workspace.features.unlink()
    with pytest.raises(WeightsError, match="not the weights of AlexNet that are meant"):
        _run(small_job, workspace, config, _file(tmp_path, 2))


def test_slices_of_another_size_than_the_trunks_are_noted() -> None:
    config = read_config(None, ["trunk.name=xception"])
    note = size_note(config)
    assert note is not None
    assert "slices of 224 px" in note
    assert "slices.size_px = 299" in note
    assert size_note(read_config(None, ["trunk.name=xception", "slices.size_px=299"])) is None
    assert size_note(RunConfig()) is None


def test_slices_too_small_for_the_trunk_are_refused_before_anything_is_prepared(
    small_job: SmallJob, tmp_path: Path
) -> None:
    trunk = TrunkSpec(name="inception_v3", weights="random", layer="mixed7")
    slices = dataclasses.replace(small_job.config.slices, size_px=48)
    config = dataclasses.replace(small_job.config, trunk=trunk, slices=slices)
    workspace = Workspace(root=tmp_path / "run", cache=tmp_path / "cache")
    with pytest.raises(ConfigurationError, match="too small for the stage"):
        _run(small_job, workspace, config, None)
    assert not (workspace.root / "records").exists()
