"""The audit stage: current until something that it read changes, and loud when a check fails."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.config import RunConfig, read_config
from pipelines.opening import open_run
from pipelines.runner import RunOutcome
from pipelines.workspace import Workspace
from tests.pipelines.conftest import run_command
from tests.pipelines.planted import finish, plant, vouch
from tests.synthetic import feature_table

Command = Callable[..., int]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunOutcome, RunConfig]:
    """A finished run of 20 made-up patients; read only."""
    table, labels = feature_table(n_patients=20, n_features=40, signal=3.0, two_sessions=2)
    patients = pd.DataFrame(
        {"label": np.where(labels[:20] == 1, "AD", "CN"), "age": range(60, 80)},
        index=pd.Index(table.patient_ids[:20], name="patient_id"),
    )
    workspace, config = plant(tmp_path_factory.mktemp("planted"), {"max": table}, patients)
    return finish(workspace, config), config


@pytest.fixture
def copied(planted, tmp_path: Path) -> tuple[Workspace, RunConfig]:
    """A copy of the run, with the same cache."""
    workspace = planted[0].workspace
    shutil.copytree(workspace.root, tmp_path / "run")
    return open_run(tmp_path / "run", cache=workspace.cache)


@pytest.fixture
def command(copied) -> Command:
    """A stage's command on the copied run; returns the exit code."""
    workspace, _ = copied
    return lambda stage: run_command(stage, str(workspace.root), "--cache", str(workspace.cache))


def _tamper(workspace: Workspace, change: Callable[[dict], None]) -> None:
    path = workspace.head(0, 1).with_suffix(".json")
    facts = json.loads(path.read_text(encoding="utf-8"))
    change(facts)
    path.write_text(json.dumps(facts), encoding="utf-8")
    # Whoever edits a file can edit its record as well: the audit must not rely on records.
    vouch(workspace, read_config(workspace.config), "train")


def _test_patient(workspace: Workspace) -> str:
    folds = pd.read_csv(workspace.folds, dtype={"patient_id": str})
    return str(folds[(folds["repeat"] == 0) & (folds["fold"] == 1)]["patient_id"].iloc[0])


def _times(workspace: Workspace) -> dict[Path, int]:
    files = [p for p in workspace.root.rglob("*") if p.is_file() and p.name != "lock"]
    return {p: p.stat().st_mtime_ns for p in files}


def test_every_check_of_a_clean_run_passes(planted) -> None:
    outcome, _ = planted
    assert outcome.failed_checks == ()
    checks = json.loads(outcome.workspace.audit.read_text())["checks"]
    assert len(checks) >= 12
    assert all(check["passed"] for check in checks)


@pytest.mark.parametrize("stage", ["evaluate", "audit"])
def test_a_stage_that_is_current_changes_no_file(copied, command: Command, stage: str) -> None:
    workspace, _ = copied
    before = _times(workspace)
    assert command(stage) == 0
    assert _times(workspace) == before


def test_a_head_that_lists_a_test_patient_fails_the_audit_and_ends_with_3(
    copied, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace, _ = copied
    patient = _test_patient(workspace)
    _tamper(workspace, lambda facts: facts["training_patients"].append(patient))
    assert command("audit") == 3
    said = capsys.readouterr().out
    assert "of the audit failed" in said
    assert str(workspace.audit) in said
    assert "test_patient" in said
    failed = {
        check["check"]: check
        for check in json.loads(workspace.audit.read_text())["checks"]
        if not check["passed"]
    }
    assert any(patient in json.dumps(check["found"]) for check in failed.values())
    for name in failed:
        assert f"  {name}: " in said
    # It stays failed for whoever asks again.
    assert command("audit") == 3


def test_a_threshold_that_was_changed_by_hand_does_not_reproduce(copied, command: Command) -> None:
    workspace, _ = copied
    _tamper(workspace, lambda facts: facts.update(threshold=facts["threshold"] + 0.01))
    assert command("audit") == 3
    checks = json.loads(workspace.audit.read_text())["checks"]
    failed = {check["check"] for check in checks if not check["passed"]}
    assert "refit_reproduces" in failed


def test_a_changed_head_is_evaluated_anew(copied) -> None:
    """Thresholds are read from the heads: the evaluation is not current without them."""
    workspace, config = copied
    before = workspace.record("evaluate").read_bytes()
    finish(workspace, config, "evaluate")
    assert workspace.record("evaluate").read_bytes() == before
    _tamper(workspace, lambda facts: facts["target_thresholds"].update({"sensitivity 0.9": 0.01}))
    finish(workspace, config, "evaluate")
    assert workspace.record("evaluate").read_bytes() != before
    inputs = json.loads(workspace.record("evaluate").read_text())["inputs"]
    assert "heads/r0_f1.json" in inputs


def test_a_part_that_was_not_asked_for_is_none(copied) -> None:
    workspace, _ = copied
    document = json.loads(workspace.audit.read_text())
    assert document["robustness"] is None
    assert document["learning_curve"] is None
    assert document["shortcuts"] is not None
    assert document["retest"]


def test_without_permutations_there_are_no_probes(planted, tmp_path: Path) -> None:
    workspace, _ = planted[0].workspace, planted[1]
    shutil.copytree(workspace.root, tmp_path / "run")
    text = (tmp_path / "run" / "config.toml").read_text()
    text = text.replace("shortcut_permutations = 2", "shortcut_permutations = 0")
    (tmp_path / "run" / "config.toml").write_text(text)
    copied, config = open_run(tmp_path / "run", cache=workspace.cache)
    finish(copied, config, "audit")
    assert json.loads(copied.audit.read_text())["shortcuts"] is None
