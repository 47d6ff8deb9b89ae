"""Exclusions: what is written is what is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mri_transfer.cohorts.exclusions import Exclusion, read_exclusions, write_exclusions
from mri_transfer.errors import RunFolderError

_HARD = Exclusion(
    scan_id="sub-1, first",
    patient_id="NA",
    stage="check",
    reason='The file says "n+1",\nand then nothing é.',
)


def test_exclusions_come_back_in_order_whatever_they_contain(tmp_path: Path) -> None:
    second = Exclusion(scan_id="001", patient_id="1", stage="slices", reason="")
    write_exclusions(tmp_path / "excluded.csv", [_HARD, second])
    assert read_exclusions(tmp_path / "excluded.csv") == (_HARD, second)


def test_the_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    write_exclusions(tmp_path / "excluded.csv", [])
    assert (tmp_path / "excluded.csv").read_bytes() == b"scan_id,patient_id,stage,reason\n"
    assert read_exclusions(tmp_path / "excluded.csv") == ()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("scan_id,reason\n1,bad\n", id="other columns"),
        pytest.param("scan_id,patient_id,stage,reason\n1,2\n", id="short row"),
        pytest.param('scan_id,patient_id,stage,reason\n1,2,3,"open\n', id="cut short"),
    ],
)
def test_a_table_that_is_none_is_refused_with_a_remedy(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "excluded.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RunFolderError, match="check stage"):
        read_exclusions(path)
