"""Starting fast and using all cores change nothing of what a run makes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mri_transfer.core.files import sha256_of_file
from pipelines.plan.order import STAGES, stages_until
from pipelines.plan.work import work_of
from pipelines.pool import map_scans
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from tests.pipelines.conftest import SmallJob

ROOT = Path(__file__).resolve().parents[2]


def _made(job: SmallJob, folder: Path, jobs: int) -> dict[str, str]:
    """Return the digest of everything that the stages up to the slices leave, by its name."""
    workspace = begin_run(job.manifest, folder / "run", job.config, cache=folder / "cache")
    run_pipeline(workspace, job.config, stages=stages_until("slices"), jobs=jobs)
    kept = [path for path in folder.rglob("*") if path.is_file() and "records" not in path.parts]
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in kept}


def test_any_number_of_jobs_makes_the_same_bytes(small_job: SmallJob, tmp_path: Path) -> None:
    one, three = (_made(small_job, tmp_path / str(jobs), jobs) for jobs in (1, 3))
    assert len(one) > 30
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
        return number

    found = map_scans(work, range(1000), jobs=1)
    assert next(found) == 0
    with pytest.raises(ValueError, match="the second"):
        next(found)
    assert len(begun) < 1000


def test_every_stage_has_work_to_do() -> None:
    for stage in STAGES:
        assert work_of(stage.name).__name__ == "work"
        module = __import__(f"pipelines.stages.{stage.name}", fromlist=["work"])
        assert callable(module.work)


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
print(Notes.said, "torch" in sys.modules)
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
    assert done.stdout.strip() == "{'current, nothing to do'} False"
