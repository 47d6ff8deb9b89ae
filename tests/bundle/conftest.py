"""Cheap hashes: what they cost is tested once, in test_overlap.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mri_transfer.bundle import overlap


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_COST", 4)
        yield
