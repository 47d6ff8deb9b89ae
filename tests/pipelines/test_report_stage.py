"""What the report stage writes beside the page: the summary, and scans in three planes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mri_transfer.errors import RunFolderError
from mri_transfer.report.blocks.page_names import page_name
from pipelines.opening import open_run
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome
from pipelines.stage import Context
from pipelines.stages import volume_pages
from pipelines.stages.report import report_inputs
from tests.pipelines.conftest import run_command


def evaluated(finished: RunOutcome) -> set[str]:
    workspace = finished.workspace
    return set(report_inputs(workspace, open_run(workspace.root)[1]).evaluated.index)


def test_every_patient_has_a_page_in_three_planes(finished: RunOutcome) -> None:
    folder = finished.workspace.report.parent / "volumes"
    wanted = {page_name(patient) for patient in evaluated(finished)}
    assert {path.name for path in folder.iterdir()} == wanted
    page = finished.workspace.report.read_text(encoding="utf-8")
    for name in wanted:
        assert f'href="volumes/{name}"' in page


def test_short_writes_the_same_summary_and_nothing_else(
    finished: RunOutcome, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished.workspace.root, root)
    summary = root / "report" / "summary.pdf"
    made = summary.read_bytes()
    summary.unlink()
    files = (path for path in root.rglob("*") if path.is_file() and path.name != "lock")
    before = {path: path.stat().st_mtime_ns for path in files}
    words = ("--short", "--cache", str(finished.workspace.cache))
    assert run_command("report", str(root), *words) == 0
    assert summary.read_bytes() == made
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_scan_that_cannot_be_read_costs_its_patient_the_page_alone(
    finished: RunOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished.workspace.root, root)
    workspace, config = open_run(root, cache=finished.workspace.cache)
    inputs = report_inputs(workspace, config)
    lost = str(inputs.evaluated.index[0])
    read = volume_pages.load_prepared

    def lose_one(scan, spec):  # type: ignore[no-untyped-def]
        if scan["patient_id"] == lost:
            raise RunFolderError("a scan has changed since it was prepared", where=scan["scan_id"])
        return read(scan, spec)

    monkeypatch.setattr(volume_pages, "load_prepared", lose_one)
    context = Context(workspace=workspace, config=config, reporter=SilentReporter())
    pages = volume_pages.write_volume_pages(inputs, context)
    assert set(pages) == evaluated(finished) - {lost}
    # The page of the earlier report is gone with it.
    assert not (root / "report" / "volumes" / page_name(lost)).exists()
