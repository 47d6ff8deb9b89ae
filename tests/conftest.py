"""Fixtures that several test files share, and how processes that test side by side behave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.phantoms import write_bids_cohort

# How long an example takes says nothing on a machine that does other things as well.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Let each process of pytest-xdist compute on one core, or they would wait for each other."""
    if config.getoption("numprocesses", None):
        # Libraries read these when they are imported, and processes inherit them.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real scans; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real scans, ../shared/data, is not on this machine")
    return folder


@pytest.fixture(scope="session")
def bids_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BIDS data set of 4 phantom patients, 2 AD and 2 CN, one of each scanned twice. Read only."""
    return write_bids_cohort(
        tmp_path_factory.mktemp("cohort") / "phantoms",
        {"A1": ["1", "2"], "A2": [None], "C1": ["1", "2"], "C2": [None]},
        columns=["participant_id", "age", "sex", "diagnosis", "nwbv", "handedness"],
        rows=[
            ["sub-A1", 71.5, "F", "AD", 0.71, "right"],
            ["sub-A2", 80, "M", "AD", 0.69, "left"],
            ["sub-C1", 66, "F", "CN", 0.78, "right"],
            ["sub-C2", 69, "M", "CN", "n/a", "right"],
        ],
    )
