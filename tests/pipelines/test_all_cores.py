"""Starting fast and using all cores change nothing of what a run makes."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mri_transfer.core.files import sha256_of_file
from pipelines.plan.order import STAGES
from pipelines.plan.scans import CHECK, SLICES
from pipelines.pool import map_scans
from pipelines.runner import RunOutcome, run_pipeline
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob

ROOT = Path(__file__).resolve().parents[2]


def _made_again(pristine: Workspace, job: SmallJob, folder: Path, jobs: int) -> dict[str, str]:
    """Return the digests of what `check` and `slices` make anew, tables and cache entries."""
    shutil.copytree(pristine.root, folder / "run")
    shutil.copytree(pristine.cache, folder / "cache")
    workspace = Workspace(root=folder / "run", cache=folder / "cache")
    slices = folder / "cache" / "slices"
    shutil.rmtree(slices)
    stages = (CHECK, SLICES)
    run_pipeline(workspace, job.config, stages=stages, force_from="check", jobs=jobs)
    made = [workspace.refused, workspace.slices, *(p for p in slices.rglob("*") if p.is_file())]
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in made}


def test_any_number_of_jobs_makes_the_same_bytes(
    pristine: Workspace, small_job: SmallJob, tmp_path: Path
) -> None:
    one, three = (_made_again(pristine, small_job, tmp_path / str(jobs), jobs) for jobs in (1, 3))
    assert len(one) == 2 + 10
    assert one == three


def test_scans_are_worked_on_at_once_and_come_in_their_order() -> None:
    together = threading.Barrier(3, timeout=30)

    def work(number: int) -> int:
        together.wait()  # breaks unless three work at once
        return number**2

    assert list(map_scans(work, range(6), jobs=3)) == [0, 1, 4, 9, 16, 25]


def test_the_first_error_ends_the_work() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise ValueError("the second")
        if number > 1:
            # Long enough for the error to be seen before all is done.
            time.sleep(0.05)
        return number

    found = map_scans(work, range(1000), jobs=1)
    assert next(found) == 0
    with pytest.raises(ValueError, match="the second"):
        next(found)
    assert len(begun) < 1000


def test_every_stage_has_work_to_do() -> None:
    for stage in STAGES:
        assert callable(importlib.import_module(f"pipelines.stages.{stage.name}").work)


def test_a_current_run_is_recognised_without_torch(finished: RunOutcome) -> None:
    script = """
import sys
from pathlib import Path
from pipelines.opening import open_run
from pipelines.reporters import SilentReporter
from pipelines.runner import run_pipeline

class Notes(SilentReporter):
    said = set()
    def note(self, text):
        self.said.add(text)

workspace, config = open_run(Path(sys.argv[1]), cache=Path(sys.argv[2]))
run_pipeline(workspace, config, reporter=Notes())
print("current, nothing to do" in Notes.said, "torch" in sys.modules)
"""
    place = finished.workspace
    done = subprocess.run(
        [sys.executable, "-c", script, str(place.root), str(place.cache)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "True False"
