"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.phantoms import write_bids_cohort


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
