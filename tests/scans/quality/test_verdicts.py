"""Verdicts: the worst score decides, and the reasons are told worst first."""

from __future__ import annotations

import itertools

import pytest

from mri_transfer.scans.quality import JudgedScore, ScanQuality, Verdict
from mri_transfer.scans.quality.verdicts import worst


def _score(name: str, verdict: Verdict, value: float | None = 2.0, unit: str = "") -> JudgedScore:
    return JudgedScore(
        name=name,
        title=f"title of {name}",
        unit=unit,
        value=value,
        verdict=verdict,
        thresholds="at least 5; failure below 2.5",
        meaning="",
    )


def _quality(*scores: JudgedScore, turn: str = "") -> ScanQuality:
    return ScanQuality(
        scan_id="s",
        patient_id="p",
        verdict="fail",
        kept=False,
        passed_through=False,
        turn=turn,
        scores=scores,
    )


def test_the_worst_verdict_is_the_scans_whatever_the_order() -> None:
    for order in itertools.permutations(["none", "pass", "warn", "fail"]):
        assert worst(list(order)) == "fail"
    assert worst(["warn", "pass", "none"]) == "warn"
    assert worst(["none", "pass"]) == "pass"
    assert worst(["none"]) == "pass"
    assert worst([]) == "pass"


def test_reasons_name_failures_first_and_leave_out_what_passed() -> None:
    quality = _quality(
        _score("a", "warn"),
        _score("b", "pass"),
        _score("c", "fail"),
        _score("d", "none", None),
        _score("e", "warn"),
        _score("f", "fail"),
    )
    names = [reason.partition(":")[0].removeprefix("title of ") for reason in quality.reasons]
    assert names == ["c", "f", "a", "e"]
    assert quality.reasons[0] == "title of c: 2 (at least 5; failure below 2.5)"


def test_a_turned_head_is_told_in_words() -> None:
    turn = "the head's top where the header says bottom"
    quality = _quality(_score("turned", "fail", 1.0), turn=turn)
    assert quality.reasons == (f"title of turned: {turn}",)


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(2.34567, "litres", "2.35 litres"), (0.004321, "", "0.00432"), (1234.5, "", "1234")],
)
def test_a_value_is_shown_with_three_digits_and_its_unit(
    value: float, unit: str, shown: str
) -> None:
    quality = _quality(_score("a", "warn", value, unit))
    assert quality.reasons[0].startswith(f"title of a: {shown} (")
