"""Verdicts on scores and scans."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

__all__ = ["JudgedScore", "ScanQuality", "Verdict", "worst"]

Verdict: TypeAlias = Literal["pass", "warn", "fail", "none"]

_ORDER: tuple[Verdict, ...] = ("none", "pass", "warn", "fail")


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedScore:
    """One score of one scan, with its verdict.

    Parameters
    ----------
    name : str
        Column of quality.csv, such as ``snr``.
    title : str
        Name for the report.
    unit : str
        Such as ``mm``; empty for dimensionless scores.
    value : float or None
        None if the score is undefined for this scan.
    verdict : str
        ``pass``, ``warn``, ``fail``, or ``none`` for a score without thresholds or value.
    thresholds : str
        The thresholds as text; empty without thresholds.
    meaning : str
        One sentence on the meaning of the score and the source of its method.
    """

    name: str
    title: str
    unit: str
    value: float | None
    verdict: Verdict
    thresholds: str
    meaning: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanQuality:
    """The quality verdict on one scan.

    Parameters
    ----------
    scan_id, patient_id : str
        As in the manifest.
    verdict : str
        The worst of the scores' verdicts.
    kept : bool
        True if the scan failed but the user keeps it.
    passed_through : bool
        True if the scan was already prepared and is used unchanged.
    turn : str
        Orientation of the content relative to the header, as text; empty if they agree.
    scores : tuple of JudgedScore
    """

    scan_id: str
    patient_id: str
    verdict: Verdict
    kept: bool
    passed_through: bool
    turn: str
    scores: tuple[JudgedScore, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every score that did not pass, as text; failures first."""
        ordered = sorted(self.scores, key=lambda score: -_ORDER.index(score.verdict))
        return tuple(
            f"{score.title}: {self.turn}" if score.name == "turned" else _reason(score)
            for score in ordered
            if score.verdict in ("warn", "fail")
        )


def _reason(score: JudgedScore) -> str:
    if score.name == "information" and score.verdict == "fail":
        return f"could not be registered to the template: {_shown(score)}"
    return f"{score.title}: {_shown(score)}"


def _shown(score: JudgedScore) -> str:
    unit = f" {score.unit}" if score.unit else ""
    # Three significant digits, without exponents.
    value = score.value or 0.0
    shown = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{shown}{unit} ({score.thresholds})"


def worst(verdicts: list[Verdict]) -> Verdict:
    """Return the worst of the verdicts; ``pass`` if there are none."""
    return max(["pass", *verdicts], key=_ORDER.index)
