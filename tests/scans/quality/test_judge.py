"""Judging a cohort: fixed limits decide, the others can only raise a warning."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mri_transfer.scans.preparation.pose import TURN_WORDS
from mri_transfer.scans.quality import (
    RULES,
    QualitySpec,
    ScanQuality,
    ScanScores,
    ScoredScan,
    judge_cohort,
    quality_table,
)

#: A scan without fault, in the middle of every limit.
GOOD: dict[str, float | None] = {
    "information": 0.6,
    "turned": 0.0,
    "turn_lead": 0.3,
    "tilt_deg": 8.0,
    "dice": 0.96,
    "similarity": 0.6,
    "coverage": 1.0,
    "snr": 18.0,
    "cnr": 2.0,
    "contrast": 1.4,
    "brain_litres": 1.4,
    "stretch": 1.1,
    "spacing_mm": 1.0,
    "grey_levels": 1000.0,
    "holes": 0.0,
    "cerebellum": 1.0,
    "fluid_asymmetry_ml": 2.0,
    "background": 0.0,
    "slice_break": 0.98,
    "sharpness": 0.08,
    "entropy_focus": 0.5,
}
COHORT = ("sharpness", "entropy_focus", "histogram_distance")


def _scan(
    name: str = "s", *, turn: int = 0, passed_through: bool = False, bins: Any = None, **values: Any
) -> ScoredScan:
    histogram = np.full(40, 1 / 40) if bins is None else np.bincount(bins, minlength=40) / len(bins)
    return ScoredScan(
        scan_id=name,
        patient_id=f"p-{name}",
        passed_through=passed_through,
        scores=ScanScores(
            values={**GOOD, "turned": float(turn != 0), **values},
            turn=turn,
            histogram=tuple(histogram.tolist()),
        ),
    )


def _one(scan: ScoredScan, **settings: Any) -> ScanQuality:
    (quality,) = judge_cohort([scan], QualitySpec(**settings))
    return quality


def _cohort(n: int, **last: Any) -> list[ScanQuality]:
    """Judge n ordinary scans, each a little different, and one more with other values."""
    rng = np.random.default_rng(0)
    ordinary = [
        _scan(
            f"s{i}",
            sharpness=0.08 + 0.004 * rng.standard_normal(),
            entropy_focus=0.5 + 0.02 * rng.standard_normal(),
            bins=rng.integers(10, 30, 4000),
        )
        for i in range(n - 1)
    ]
    return judge_cohort([*ordinary, _scan("last", **last)], QualitySpec())


def _verdicts(quality: ScanQuality) -> dict[str, str]:
    return {score.name: score.verdict for score in quality.scores}


def test_a_scan_without_fault_passes_and_gives_no_reasons() -> None:
    quality = _one(_scan())
    assert quality.verdict == "pass"
    assert quality.reasons == ()
    assert quality.turn == ""
    assert [score.name for score in quality.scores] == [*(rule.name for rule in RULES), *COHORT]


def test_one_bad_score_is_enough() -> None:
    assert _one(_scan(snr=6.0), snr=(7.0, 3.0)).verdict == "warn"
    quality = _one(_scan(snr=6.0, dice=0.1), snr=(7.0, 3.0))
    assert quality.verdict == "fail"
    assert [reason.partition(":")[0] for reason in quality.reasons] == [
        "overlap with the template",
        "signal-to-noise ratio",
    ]


def test_a_score_that_is_not_defined_counts_for_nothing() -> None:
    nothing = dict.fromkeys(GOOD)
    quality = _one(_scan(**nothing))
    assert quality.verdict == "pass"
    assert set(_verdicts(quality).values()) == {"none"}


def test_a_turned_head_fails_and_says_how_it_lies() -> None:
    quality = _one(_scan(turn=2))
    assert quality.verdict == "fail"
    assert quality.turn == TURN_WORDS[2]
    assert TURN_WORDS[2] in quality.reasons[0]


def test_what_came_prepared_is_only_warned_of_its_turn() -> None:
    quality = _one(_scan(turn=2, turn_lead=-0.1, passed_through=True))
    assert quality.verdict == "warn"
    assert _verdicts(quality)["turned"] == _verdicts(quality)["turn_lead"] == "warn"
    assert _one(_scan(turn=2, passed_through=True, holes=1.0)).verdict == "fail"


def test_a_scan_that_could_not_be_registered_is_not_blamed_for_how_it_lies() -> None:
    quality = _one(_scan(turn=2, information=0.1, dice=0.3, stretch=1.9, snr=9.0))
    assert quality.verdict == "fail"
    assert quality.turn == ""
    assert len(quality.reasons) == 1
    assert quality.reasons[0].startswith("could not be registered to the template: 0.1 nats")
    verdicts = _verdicts(quality)
    assert verdicts["turned"] == verdicts["dice"] == verdicts["stretch"] == "none"
    # Noise and resolution are the scan's own, wherever the brain lies.
    assert verdicts["snr"] == "pass"


def test_the_headers_orientation_that_is_kept_in_doubt_is_warned_of() -> None:
    quality = _one(_scan(turn_lead=-0.08))
    assert quality.verdict == "warn"
    assert quality.reasons[0].startswith("orientation margin")


def test_a_scan_to_keep_is_kept_only_if_it_fails() -> None:
    for name, values, kept in [
        ("s", {"snr": 0.0}, True),
        ("s", {}, False),
        ("t", {"snr": 0}, False),
    ]:
        quality = _one(_scan(name, **values), keep=("s",))
        assert quality.kept is kept
        assert quality.verdict == ("fail" if values else "pass")


@pytest.mark.parametrize(
    "odd", [{"sharpness": 0.01}, {"sharpness": 0.4}, {"entropy_focus": 0.9}, {"bins": [39]}]
)
def test_a_scan_unlike_the_cohort_is_warned_of_and_never_fails(odd: dict[str, Any]) -> None:
    *others, last = _cohort(20, **odd)
    name = "histogram_distance" if "bins" in odd else next(iter(odd))
    assert _verdicts(last)[name] == "warn"
    assert last.verdict == "warn"
    assert last.reasons
    assert all(_verdicts(other)[name] == "pass" for other in others)


def test_fewer_than_eight_scans_are_no_cohort() -> None:
    *_, last = _cohort(7, sharpness=9.0, entropy_focus=0.99, bins=[39])
    assert {_verdicts(last)[name] for name in COHORT} == {"none"}
    assert last.verdict == "pass"
    *_, last = _cohort(8, sharpness=9.0, entropy_focus=0.99, bins=[39])
    assert {_verdicts(last)[name] for name in COHORT} == {"warn"}


def test_a_cohort_without_spread_has_no_outliers() -> None:
    scans = [_scan(f"s{i}") for i in range(12)]
    odd = _scan("odd", sharpness=3.0, bins=[0])
    assert {q.verdict for q in judge_cohort([*scans, odd], QualitySpec())} == {"pass"}


def test_the_distance_between_histograms_is_the_mean_shift_in_bins() -> None:
    """Earth mover's distance in closed form: everything moved by three bins."""
    scans = [_scan(f"s{i}", bins=[10]) for i in range(9)]
    moved = judge_cohort([*scans, _scan("moved", bins=[13])], QualitySpec())
    values = {q.scan_id: q.scores[-1].value for q in moved}
    assert values["moved"] == pytest.approx(3)
    assert values["s0"] == pytest.approx(0)


def test_robust_z_by_hand() -> None:
    """Middle 5, median distance from it 2: 1.4826 * 2 is one deviation."""
    scans = [_scan(f"s{i}", sharpness=float(v)) for i, v in enumerate([1, 2, 3, 4, 5, 6, 7, 8, 9])]
    judged = judge_cohort(scans, QualitySpec(cohort_outlier=1.3))
    by_name = [{s.name: s for s in q.scores}["sharpness"] for q in judged]
    away = [abs(v - 5) / (1.4826 * 2) for v in range(1, 10)]
    assert [s.verdict for s in by_name] == ["warn" if z > 1.3 else "pass" for z in away]
    assert f"here {away[0]:.1f}" in by_name[0].thresholds


def test_who_else_takes_part_changes_no_verdict_of_a_scans_own() -> None:
    scan = _scan("s", snr=4.0, holes=0.02)
    alone = _one(scan)
    among = judge_cohort([scan, *(_scan(f"o{i}", snr=90.0) for i in range(20))], QualitySpec())[0]
    own = {rule.name for rule in RULES}
    pairs = zip(alone.scores, among.scores, strict=True)
    assert all(a == b for a, b in pairs if a.name in own)


def test_no_scans_no_verdicts() -> None:
    assert judge_cohort([], QualitySpec()) == []


def test_the_table_has_a_row_a_scan_and_two_columns_a_score() -> None:
    scans = [_scan("a"), _scan("b", turn=3), _scan("c", snr=None, passed_through=True)]
    table = quality_table(judge_cohort(scans, QualitySpec(keep=("b",))))
    first = ["scan_id", "patient_id", "verdict", "kept", "passed_through", "turn", "reasons"]
    names = [*(rule.name for rule in RULES), *COHORT]
    expected = [*first, *(column for name in names for column in (name, f"{name}_verdict"))]
    assert list(table.columns) == expected
    assert table["scan_id"].tolist() == ["a", "b", "c"]
    assert table["patient_id"].tolist() == ["p-a", "p-b", "p-c"]
    assert table["verdict"].tolist() == ["pass", "fail", "pass"]
    assert table["kept"].tolist() == [False, True, False]
    assert table["passed_through"].tolist() == [False, False, True]
    assert pd.isna(table["snr"][2])
    assert table["snr_verdict"][2] == "none"
    assert table["reasons"][0] == ""
    assert TURN_WORDS[3] in table["reasons"][1]


def test_the_table_of_no_scans_is_empty() -> None:
    assert len(quality_table([])) == 0


def test_scores_are_read_and_not_changed() -> None:
    scan = _scan("a", snr=1.0)
    before = dataclasses.asdict(scan)
    _one(scan)
    assert dataclasses.asdict(scan) == before
