"""A small synthetic cohort and one finished run on it, shared by the tests of the stages."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mri_transfer.cohorts.readers.bids.reader import read_bids_cohort
from mri_transfer.cohorts.synthetic.cohort import DemoSpec, grow_demo_cohort
from pipelines.commands import cli
from pipelines.config import RunConfig, read_config
from pipelines.jobs.retrain import Packing, retrain_run
from pipelines.opening import open_run
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.workspace import Workspace
from tests.bundle.conftest import cheap_hashes  # noqa: F401 (an automatic fixture)
from tests.made_once import made_once

#: Settings that make a run small, not different in kind.
SMALL = [
    "profile=quick",
    "preparation.scans=none",
    "slices.n_slices=8",
    "slices.size_px=64",
    "folds.n_folds=2",
    "folds.n_repeats=2",
    "folds.n_inner_folds=2",
    "evaluation.bootstrap_samples=100",
    "evaluation.baseline_inner_folds=2",
    "audit.n_permutations=2",
    "audit.bootstrap_samples=100",
    "audit.blinded_folds=1",
    # Each costs seconds; test_recompute.py does it once.
    "audit.recomputed_patients=0",
    "audit.shortcut_permutations=2",
    "features.precision=fp32",
    # The nearest patients alone; test_explain.py makes maps and close views.
    "explanation.maps=false",
    "explanation.close_patients=0",
]


def run_command(
    *words: str, name: str = "mri-transfer", main: Callable[[], None] = cli.main
) -> int:
    """Run a command in this process, message and all; return its exit code."""
    before = sys.argv
    sys.argv = [name, *words]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    return int(ended.value.code or 0)


class Notes(SilentReporter):
    """Remembers what was said, and may fail after some items."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.notes: list[str] = []
        self.stop_after = stop_after

    def note(self, text: str) -> None:
        self.notes.append(text)

    def track(self, items, *, total: int, what: str) -> Iterator:
        for i, item in enumerate(items):
            if i == self.stop_after:
                raise KeyboardInterrupt
            yield item


@dataclasses.dataclass(frozen=True)
class SmallJob:
    """A cohort, its manifest and the settings to run it with."""

    cohort: Path
    manifest: Path
    config: RunConfig
    settings: list[str]

    def run(self, out: Path, cache: Path) -> RunOutcome:
        """Run every stage."""
        workspace = begin_run(self.manifest, out, self.config, cache=cache)
        return run_pipeline(workspace, self.config)


@pytest.fixture(scope="session")
def small_job(tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """8 synthetic patients at 5 mm, 10 scans."""

    def grow(folder: Path) -> None:
        spec = DemoSpec(n_patients=8, spacing_mm=5, two_session_fraction=0.25)
        cohort = grow_demo_cohort(folder / "cohort", spec=spec)
        read_bids_cohort(cohort).manifest.write(folder / "manifest.csv")

    folder = made_once(tmp_path_factory, "small", grow)
    return SmallJob(folder / "cohort", folder / "manifest.csv", read_config(None, SMALL), SMALL)


@pytest.fixture(scope="session")
def pristine(small_job: SmallJob, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished run and its cache, as the run left them; to be copied, never to be opened."""
    folder = made_once(
        tmp_path_factory,
        "finished",
        lambda folder: small_job.run(folder / "run", folder / "cache"),
    )
    return Workspace(root=folder / "run", cache=folder / "cache")


@pytest.fixture(scope="session")
def finished(
    small_job: SmallJob, pristine: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> RunOutcome:
    """A finished run; tests must not change it, and may add to its cache.

    Each process has a copy, since a run's folder is locked by whoever works on it.
    """
    mine = _copied(pristine, tmp_path_factory.mktemp("finished"))
    return small_job.run(mine.root, mine.cache)


@pytest.fixture(scope="session")
def packed(finished: RunOutcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the finished run, its zip beside it; tests must not change them."""

    def pack(folder: Path) -> None:
        workspace, config = open_run(finished.workspace.root, cache=finished.workspace.cache)
        packing = Packing(out=folder / "b", zipped=True)
        retrain_run(workspace, config, packing, reporter=SilentReporter())

    return made_once(tmp_path_factory, "packed", pack) / "b"


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 8 synthetic patients of whom no run and no bundle knows, a scan each."""

    def grow(folder: Path) -> None:
        spec = DemoSpec(n_patients=8, spacing_mm=5, two_session_fraction=0, seed=9)
        manifest = read_bids_cohort(grow_demo_cohort(folder / "cohort", spec=spec)).manifest
        # Demo patients are numbered; these are others, with names that occur nowhere else.
        for column in ("patient_id", "scan_id"):
            manifest.scans[column] = "secret-" + manifest.scans[column]
        manifest.write(folder / "new.csv")

    return made_once(tmp_path_factory, "strangers", grow) / "new.csv"


@pytest.fixture
def own(pristine: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the finished run, and of its cache as the run left it."""
    return _copied(pristine, tmp_path)


def _copied(workspace: Workspace, folder: Path) -> Workspace:
    copy = Workspace(root=folder / "run", cache=folder / "cache")
    shutil.copytree(workspace.root, copy.root)
    shutil.copytree(workspace.cache, copy.cache)
    return copy
