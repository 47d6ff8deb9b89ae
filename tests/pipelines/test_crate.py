"""What stages recorded, and the crate made of it."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.record import StageRecord, file_digests
from pipelines.stages.crate import recorded_paths, write_run_crate
from pipelines.workspace import Workspace


def _record(workspace: Workspace, stage: str, inputs: list[Path], outputs: list[Path]) -> None:
    StageRecord(
        stage=stage,
        inputs=file_digests(workspace, inputs),
        outputs=file_digests(workspace, outputs),
        specs={},
        seed=0,
        seconds=1.0,
        started="2026-01-01T00:00:00+00:00",
    ).write(workspace)


def test_files_of_earlier_stages_are_listed_while_they_exist(tmp_path: Path) -> None:
    workspace = Workspace(root=tmp_path, cache=tmp_path / "cache")
    files = [workspace.source_manifest, workspace.refused, workspace.folds, workspace.report]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    _record(workspace, "folds", [workspace.refused], [workspace.folds])
    _record(workspace, "check", [workspace.source_manifest], [workspace.refused])
    _record(workspace, "report", [workspace.folds], [workspace.report])
    assert recorded_paths(workspace) == sorted(files[:3])
    workspace.folds.unlink()
    assert recorded_paths(workspace) == sorted(files[:2])
    write_run_crate(workspace, title="t", inputs=files[:2], outputs=[workspace.report])
    graph = json.loads(workspace.crate.read_text(encoding="utf-8"))["@graph"]
    root = next(one for one in graph if one["@id"] == "./")
    stages = [one["@id"] for one in root["mentions"]]
    assert stages == ["#stage-check", "#stage-folds", "#stage-report"]
    assert {one["@id"] for one in root["hasPart"]} == {
        "records/", "refused.csv", "report/index.html", "source_manifest.csv",
    }  # fmt: skip
