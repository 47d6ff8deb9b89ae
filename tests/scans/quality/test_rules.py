"""Rules: each score's verdict at, below and above its limits, and what the user is told."""

from __future__ import annotations

import dataclasses

import pydantic
import pytest

from mri_transfer.scans.quality import RULES, QualitySpec
from mri_transfer.scans.quality.rules import Rule

RULE = {rule.name: rule for rule in RULES}
STEP = 1e-6


def _verdict(rule: Rule, value: float | None, spec: QualitySpec) -> str:
    return rule.judge(value, spec)[0]


@pytest.mark.parametrize("rule", [r for r in RULES if r.side == "low"], ids=lambda r: r.name)
def test_small_is_bad(rule: Rule) -> None:
    spec = QualitySpec()
    warn, fail = getattr(spec, rule.name)
    assert warn > fail
    for value, verdict in [
        (warn + STEP, "pass"),
        (warn, "pass"),
        (warn - STEP, "warn"),
        (fail, "warn"),
        (fail - STEP, "fail"),
        (-1e9, "fail"),
        (1e9, "pass"),
        (None, "none"),
    ]:
        assert _verdict(rule, value, spec) == verdict, value
    assert f"least {warn:g}" in rule.judge(1.0, spec)[1]
    assert f"below {fail:g}" in rule.judge(None, spec)[1]


@pytest.mark.parametrize("rule", [r for r in RULES if r.side == "high"], ids=lambda r: r.name)
def test_large_is_bad(rule: Rule) -> None:
    spec = QualitySpec()
    warn, fail = getattr(spec, rule.name)
    assert warn < fail
    for value, verdict in [
        (warn - STEP, "pass"),
        (warn, "pass"),
        (warn + STEP, "warn"),
        (fail, "warn"),
        (fail + STEP, "fail"),
        (1e9, "fail"),
        (0.0, "pass"),
        (None, "none"),
    ]:
        assert _verdict(rule, value, spec) == verdict, value
    words = rule.judge(1.0, spec)[1]
    assert f"most {warn:g}" in words
    assert f"above {fail:g}" in words


@pytest.mark.parametrize("rule", [r for r in RULES if r.side == "range"], ids=lambda r: r.name)
def test_both_ends_are_bad(rule: Rule) -> None:
    spec = QualitySpec()
    limits = getattr(spec, rule.name)
    assert sorted(limits) == list(limits)
    low_fail, low_warn, high_warn, high_fail = limits
    for value, verdict in [
        (low_fail - STEP, "fail"),
        (low_fail, "warn"),
        (low_warn - STEP, "warn"),
        (low_warn, "pass"),
        (high_warn, "pass"),
        (high_warn + STEP, "warn"),
        (high_fail, "warn"),
        (high_fail + STEP, "fail"),
        (None, "none"),
    ]:
        assert _verdict(rule, value, spec) == verdict, value
    words = rule.judge(None, spec)[1]
    assert all(f"{limit:g}" in words for limit in limits)


def test_a_turned_head_fails() -> None:
    spec = QualitySpec()
    assert [_verdict(RULE["turned"], value, spec) for value in (0.0, 1.0, None)] == [
        "pass",
        "fail",
        "none",
    ]


def test_the_users_limits_are_the_ones_that_count() -> None:
    spec = QualitySpec(snr=(40.0, 30.0))
    assert [_verdict(RULE["snr"], value, spec) for value in (41, 35, 20)] == [
        "pass",
        "warn",
        "fail",
    ]


def test_every_rule_has_words_and_every_limit_a_rule() -> None:
    fields = {field.name for field in dataclasses.fields(QualitySpec)}
    assert len(RULE) == len(RULES)
    assert set(RULE) - {"turned"} == fields - {"keep", "cohort_outlier"}
    for rule in RULES:
        assert rule.title
        assert rule.meaning.endswith(".")
        assert rule.side in ("low", "high", "range", "one")


@pytest.mark.parametrize(
    "settings",
    [{"snr": (1.0,)}, {"brain_litres": (1.0, 2.0)}, {"cohort_outlier": 0.0}, {"sharpnes": 1}],
)
def test_limits_that_cannot_be_meant_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        QualitySpec(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [{"snr": (2.5, 5.0)}, {"holes": (0.04, 0.01)}, {"brain_litres": (0.9, 0.7, 2.1, 2.5)}],
)
def test_limits_in_the_wrong_order_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError, match=next(iter(settings))):
        QualitySpec(**settings)  # type: ignore[arg-type]
