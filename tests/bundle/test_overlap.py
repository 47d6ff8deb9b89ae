"""Who was trained on is recognised by those who know them, and read by nobody."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mri_transfer.bundle import overlap
from mri_transfer.bundle.overlap import TrainingMarks, find_overlap, read_marks, write_marks
from mri_transfer.errors import StoreError

MARKS = TrainingMarks.make(["sub-A1", "B2"], ["aa" * 32, "bb" * 32], secret="head")


def test_patients_and_scans_of_the_training_are_found_and_others_are_not() -> None:
    both = find_overlap([MARKS], patient_id="sub-A1", scan_digests=["cc", "bb" * 32])
    assert (both.patient, both.scan) == (True, True)
    assert find_overlap([MARKS], patient_id="A1", scan_digests=[]).patient
    nobody = find_overlap([MARKS], patient_id="sub-A2", scan_digests=["cc" * 32])
    assert not nobody
    assert not find_overlap([MARKS], patient_id=None, scan_digests=[])


def test_another_bundle_hashes_the_same_patient_otherwise() -> None:
    other = TrainingMarks.make(["sub-A1", "B2"], ["aa" * 32, "bb" * 32], secret="other head")
    assert not MARKS.patients & other.patients
    assert not MARKS.scans & other.scans


def test_a_patient_of_an_earlier_training_is_still_found() -> None:
    later = TrainingMarks.make(["C3"], [], secret="later")
    assert find_overlap([MARKS, later], patient_id="B2", scan_digests=[]).patient
    assert find_overlap([MARKS, later], patient_id="C3", scan_digests=[]).patient


def test_marks_come_back_and_name_nobody(tmp_path: Path) -> None:
    write_marks(tmp_path / "m.json", [MARKS])
    assert read_marks(tmp_path / "m.json") == (MARKS,)
    text = (tmp_path / "m.json").read_text()
    assert "sub-" not in text
    assert "aa" * 32 not in text


def test_a_foreign_file_cannot_ask_for_endless_work(tmp_path: Path) -> None:
    write_marks(tmp_path / "m.json", [MARKS])
    text = (tmp_path / "m.json").read_text()
    text = text.replace(f'"cost": {MARKS.cost}', '"cost": 1073741824')
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(StoreError, match="cost"):
        read_marks(tmp_path / "m.json")


def test_guessing_a_name_costs_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "_COST", 1 << 14)
    marks = TrainingMarks.make(["A1"], [], secret="head")
    before = time.process_time()
    assert marks.find(patient_id="A1", scan_digests=[]).patient
    assert time.process_time() - before > 0.005
