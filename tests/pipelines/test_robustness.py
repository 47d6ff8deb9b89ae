"""Features of perturbed scans: computed once, resumed after a kill, told beforehand."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import SliceError
from mri_transfer.models.features import encode, resolve_features
from mri_transfer.models.trunks import load_trunk
from mri_transfer.scans.perturbations import Perturbation, perturb, perturbation_seed
from mri_transfer.scans.slices import cut_slices
from mri_transfer.scans.volumes import load_volume
from pipelines.indexes import read_prepared_index
from pipelines.runner import RunOutcome
from pipelines.stage import Context
from pipelines.stages import robustness
from pipelines.stages.features import read_feature_tables
from pipelines.stages.robustness import perturbed_tables
from pipelines.workspace import Workspace
from tests.pipelines.conftest import Notes, SmallJob
from tests.pipelines.remote_runs import Elsewhere

NOISE = Perturbation(kind="noise", level=5.0)
GAMMA = Perturbation(kind="gamma", level=1.5)
BOTH = (NOISE, GAMMA)


@pytest.fixture
def context(finished: RunOutcome, small_job: SmallJob, tmp_path: Path) -> Context:
    """A copy of the finished run, with a cache of its own."""
    shutil.copytree(finished.workspace.root, tmp_path / "run")
    shutil.copytree(finished.workspace.cache, tmp_path / "cache")
    workspace = Workspace(root=tmp_path / "run", cache=tmp_path / "cache")
    return Context(workspace=workspace, config=small_job.config, reporter=Notes())


def _bytes(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cache / "features").rglob("*.safetensors")}


def _perturbed(context: Context, **settings):
    clean = read_feature_tables(context.workspace, context.config)
    return perturbed_tables(context, clean, **settings)


def _forbidden(*_args, **_settings):
    raise AssertionError("the trunk was loaded")


def test_the_features_are_those_of_the_perturbed_scan(context: Context) -> None:
    tables = _perturbed(context, n_patients=4, perturbations=BOTH)
    assert list(tables) == [NOISE, GAMMA]
    config, workspace = context.config, context.workspace
    spec = resolve_features(config.features)
    trunk = load_trunk(
        config.trunk, precision=spec.precision, device=spec.device, cache=workspace.weights
    )
    table = tables[NOISE][config.features.pooling]
    label_of = pd.read_csv(workspace.folds, dtype=str).set_index("patient_id")["label"].to_dict()
    assert len(set(table.patient_ids)) == 4
    assert sorted(label_of[name] for name in set(table.patient_ids)) == ["AD", "AD", "CN", "CN"]
    rows = [row for row in read_prepared_index(workspace) if row["patient_id"] in table.patient_ids]
    assert table.scan_ids == tuple(row["scan_id"] for row in rows)
    for i, row in enumerate(rows):
        volume = load_volume(row["volume"], scan_id=row["scan_id"])
        seed = perturbation_seed(volume_key=row["volume_key"], perturbation=NOISE, seed=config.seed)
        stack = cut_slices(perturb(volume, NOISE, seed=seed), config.slices)
        assert np.array_equal(table.features[i], encode(stack, trunk, spec).features)
        assert table.scan_sha256[i] == row["scan_sha256"]


def test_the_work_is_told_first_and_nothing_is_done_twice(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _perturbed(context, n_patients=4, perturbations=BOTH)
    notes = context.reporter.notes
    n = 2 * len(first[NOISE][context.config.features.pooling].scan_ids)
    assert f"{n} passes of the trunk, 0 of them in the cache, {n} to compute" in notes[0]
    assert re.search(r"about \d+\.\d s a pass on the first scan, \d+ min in all", notes[1])
    before = _bytes(context.workspace.cache)
    monkeypatch.setattr(robustness, "open_trunk", _forbidden)
    again = dataclasses.replace(context, reporter=Notes())
    second = _perturbed(again, n_patients=4, perturbations=BOTH)
    assert f"{n} of them in the cache, 0 to compute" in again.reporter.notes[0]
    assert _bytes(context.workspace.cache) == before
    for perturbation in BOTH:
        for pooling, table in first[perturbation].items():
            assert np.array_equal(table.features, second[perturbation][pooling].features)


def test_a_larger_sample_pays_only_for_its_new_patients(context: Context) -> None:
    _perturbed(context, n_patients=2, perturbations=[GAMMA])
    more = dataclasses.replace(context, reporter=Notes())
    tables = _perturbed(more, n_patients=8, perturbations=[GAMMA])
    n = len(tables[GAMMA][context.config.features.pooling].scan_ids)
    found = re.search(r"(\d+) of them in the cache, (\d+) to compute", more.reporter.notes[0])
    assert found is not None
    assert int(found[1]) >= 2
    assert int(found[1]) + int(found[2]) == n == 10


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(
    context: Context, tmp_path: Path
) -> None:
    shutil.copytree(context.workspace.cache, tmp_path / "other")
    _perturbed(context, n_patients=4, perturbations=BOTH)
    root = context.workspace.root
    other = Workspace(root=root, cache=tmp_path / "other")
    killed = dataclasses.replace(context, workspace=other, reporter=Notes(stop_after=1))
    with pytest.raises(KeyboardInterrupt):
        _perturbed(killed, n_patients=4, perturbations=BOTH)
    resumed = dataclasses.replace(killed, reporter=Notes())
    _perturbed(resumed, n_patients=4, perturbations=BOTH)
    assert re.search(r" [1-9]\d* of them in the cache, [1-9]", resumed.reporter.notes[0])
    assert _bytes(other.cache) == _bytes(context.workspace.cache)


def test_a_scan_that_cannot_be_cut_is_noted_and_left_out(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, failing = robustness.cut_perturbed, set()

    def cut(volume, perturbation, spec, *, seed):
        if perturbation == GAMMA or not failing or volume.scan_id in failing:
            failing.add(volume.scan_id) if perturbation != GAMMA else None
            raise SliceError("too few usable axial slices", where=volume.scan_id)
        return true(volume, perturbation, spec, seed=seed)

    monkeypatch.setattr(robustness, "cut_perturbed", cut)
    tables = _perturbed(context, n_patients=4, perturbations=BOTH)
    pooling = context.config.features.pooling
    assert not failing & set(tables[NOISE][pooling].scan_ids)
    assert len(failing) == 1
    empty = tables[GAMMA][pooling]
    assert empty.scan_ids == ()
    assert empty.features.shape == (0, *tables[NOISE][pooling].features.shape[1:])
    left_out = [note for note in context.reporter.notes if note.startswith("left out under")]
    assert len(left_out) == len(tables[NOISE][pooling].scan_ids) + 2
    assert "noise, 5 %" in left_out[0]


def test_without_patients_nothing_is_done(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(robustness, "open_trunk", _forbidden)
    tables = _perturbed(context, n_patients=0, perturbations=BOTH)
    assert tables[NOISE][context.config.features.pooling].scan_ids == ()


@pytest.mark.slow
def test_other_machines_make_the_same_features(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tmp_path / "cache", tmp_path / "other")
    _perturbed(context, n_patients=4, perturbations=BOTH)
    there = Elsewhere.in_place_of_this_machine(monkeypatch, tmp_path / "other")
    workspace = Workspace(root=tmp_path / "run", cache=tmp_path / "other")
    _perturbed(dataclasses.replace(context, workspace=workspace), n_patients=4, perturbations=BOTH)
    assert len(there.jobs) >= 4
    assert {len(passes) for passes in there.jobs} == {len(BOTH)}
    assert _bytes(tmp_path / "other") == _bytes(tmp_path / "cache")
