"""Damaged heads: an undamaged one passes, each damage is noticed by the score that is to see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mri_transfer.scans.preparation import PreparationSpec, PreparedScan, prepare_scan
from mri_transfer.scans.quality import (
    QualitySpec,
    ScanQuality,
    ScoredScan,
    judge_cohort,
    measure_scan,
)
from mri_transfer.scans.volumes import Volume, load_volume
from tests.heads_phantom import in_place_head
from tests.scans.quality.damages import damaged

#: A head that lies in place needs no registration, and these damages no bias field.
QUICK = PreparationSpec(registration=False, bias_field=False)
MIDDLE_MM = np.array([0.0, -18.0, 8.0])

#: Damage of a made head, the verdict, and scores that must have noticed.
NOTICED = [
    ("lost_slices", "fail", {"holes", "slice_break"}),
    ("noisy_slices", "fail", {"slice_break"}),
    ("empty_half", "fail", {"holes"}),
    ("cut_top", "fail", {"coverage"}),
    ("inverted", "fail", {"contrast"}),
    ("noise_50", "fail", {"slice_break"}),
    ("few_levels", "fail", {"grey_levels"}),
    ("broken", "warn", {"similarity"}),
    ("only_noise", "fail", {"similarity"}),
    ("without_cerebellum", "warn", {"cerebellum"}),
    ("cavity", "warn", {"fluid_asymmetry_ml"}),
    ("bright_air", "warn", {"background"}),
]


def _judged(volume: Volume, spec: PreparationSpec) -> tuple[ScanQuality, PreparedScan]:
    prepared = prepare_scan(volume, spec)
    scan = ScoredScan(
        scan_id="s",
        patient_id="p",
        passed_through=prepared.passed_through,
        scores=measure_scan(volume, prepared),
    )
    (quality,) = judge_cohort([scan], QualitySpec())
    return quality, prepared


def _bad(quality: ScanQuality) -> set[str]:
    return {score.name for score in quality.scores if score.verdict in ("warn", "fail")}


def test_an_undamaged_head_passes() -> None:
    quality, _ = _judged(in_place_head().volume, QUICK)
    assert quality.verdict == "pass", quality.reasons


@pytest.mark.parametrize(("damage", "verdict", "scores"), NOTICED)
def test_a_damaged_head_is_noticed(damage: str, verdict: str, scores: set[str]) -> None:
    quality, _ = _judged(damaged(in_place_head().volume, damage, middle_mm=MIDDLE_MM), QUICK)
    assert quality.verdict == verdict, quality.reasons
    assert scores <= _bad(quality)


def test_a_cut_head_is_judged_by_what_is_left_of_it() -> None:
    quality, _ = _judged(damaged(in_place_head().volume, "cut_half", middle_mm=MIDDLE_MM), QUICK)
    assert quality.verdict == "fail"
    assert _bad(quality) == {"coverage"}


@pytest.fixture(scope="module")
def real(shared_data: Path) -> Volume:
    path = shared_data / "ixi-16" / "sub-IXI057" / "anat" / "sub-IXI057_T1w.nii.gz"
    return load_volume(path, scan_id="sub-IXI057")


@pytest.mark.data
@pytest.mark.slow
def test_a_real_scan_passes_and_its_damaged_copies_do_not(real: Volume) -> None:
    spec = PreparationSpec(bias_field=False)
    quality, prepared = _judged(real, spec)
    assert quality.verdict == "pass", quality.reasons
    assert prepared.alignment is not None
    middle = (prepared.alignment.matrix @ np.append(MIDDLE_MM, 1.0))[:3]
    for damage, verdicts in [("noisy_slices", {"fail"}), ("stretched_z", {"warn", "fail"})]:
        quality, _ = _judged(damaged(real, damage, middle_mm=middle), spec)
        assert quality.verdict in verdicts, damage
