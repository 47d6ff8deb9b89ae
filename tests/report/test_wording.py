"""How numbers become text."""

from __future__ import annotations

import pytest

from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.blocks.wording import bare_p, count, estimate, number, p_value


def test_an_estimate_stands_with_its_interval_or_with_why_there_is_none() -> None:
    known = {"n": 140, "method": "DeLong"}
    entry = Estimate(value=0.7834, ci_low=0.7, ci_high=0.8466, **known)
    flat = Estimate(value=1.0, ci_low=None, ci_high=None, reason="flat", **known)
    text = estimate(entry, confidence=0.95).replace("\u00a0", " ")
    assert text == "0.78 (95 % CI 0.70 to 0.85)"
    assert "no interval: flat" in estimate(flat, confidence=0.95)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(-0.0123, 2, "\u22120.01"), (-0.0001, 2, "0.00"), (None, 3, "not defined")],
)
def test_a_number_has_a_true_minus_and_no_negative_zero(
    value: float | None, digits: int, text: str
) -> None:
    assert number(value, digits) == text


def test_not_a_number_is_said_in_words() -> None:
    assert number(float("nan")) == count(float("nan")) == p_value(float("nan")) == "not defined"


def test_patients_are_whole_also_where_repeats_were_averaged() -> None:
    assert (count(52.0), count(51.666), count(0.3)) == ("52", "about 52", "about 1")


@pytest.mark.parametrize(
    ("p", "text", "bare"),
    [(0.0004, "< 0.001", "< 0.001"), (0.0312, "= 0.031", "0.031"), (0.77, "= 0.77", "0.77")],
)
def test_a_p_value_has_its_sign_where_it_stands_in_a_sentence(
    p: float, text: str, bare: str
) -> None:
    assert p_value(p).replace("\u00a0", " ") == text
    assert bare_p(p).replace("\u00a0", " ") == bare
