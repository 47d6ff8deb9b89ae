"""Quality of a cohort: every scan is judged, and compared with the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mri_transfer.scans.preparation.pose import TURN_WORDS
from mri_transfer.scans.quality.rules import RULES, QualitySpec
from mri_transfer.scans.quality.scores import ScanScores
from mri_transfer.scans.quality.verdicts import JudgedScore, ScanQuality, Verdict, worst

__all__ = ["ScoredScan", "judge_cohort", "quality_table"]

#: Scores that are only meaningful relative to the cohort's median.
_COHORT = {
    "sharpness": (
        "sharpness",
        "Mean gradient inside the brain divided by its median signal; a proxy for motion blur.",
    ),
    "entropy_focus": (
        "motion (entropy focus)",
        "Entropy focus criterion of the original scan (Atkinson et al. 1997); ghosting and blur "
        "increase it.",
    ),
    "histogram_distance": (
        "histogram",
        "Earth mover's distance of the scan's intensity histogram from the cohort's median.",
    ),
}
#: Scores that are only meaningful if the scan was registered.
_OF_REGISTRATION = (
    "turned",
    "turn_lead",
    "tilt_deg",
    "dice",
    "similarity",
    "coverage",
    "contrast",
    "brain_litres",
    "stretch",
    "holes",
    "cerebellum",
    "fluid_asymmetry_ml",
)
#: Fewer scans are too few for a reliable median.
_MIN_COHORT = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoredScan:
    """A scan and its scores, to be judged."""

    scan_id: str
    patient_id: str
    passed_through: bool
    scores: ScanScores


def judge_cohort(scans: Sequence[ScoredScan], spec: QualitySpec) -> list[ScanQuality]:
    """Judge every scan by its own scores, and warn of outliers in the cohort.

    Parameters
    ----------
    scans : sequence of ScoredScan
    spec : QualitySpec

    Returns
    -------
    list of ScanQuality
        In the same order.
    """
    outlying = _cohort_scores(scans)
    return [_judge(scan, spec, outlying[i]) for i, scan in enumerate(scans)]


def _judge(
    scan: ScoredScan, spec: QualitySpec, outlying: Mapping[str, tuple[float | None, float | None]]
) -> ScanQuality:
    judged = []
    registered = RULES[0].judge(scan.scores.values.get("information"), spec)[0] != "fail"
    for rule in RULES:
        value = scan.scores.values.get(rule.name)
        verdict, words = rule.judge(value, spec)
        if not registered and rule.name in _OF_REGISTRATION:
            # Position and orientation are meaningless if the scan could not be registered.
            verdict = "none"
        if scan.passed_through and rule.name in ("turned", "turn_lead") and verdict == "fail":
            # Scans that were already prepared are used unchanged.
            verdict = "warn"
        judged.append(
            JudgedScore(
                name=rule.name,
                title=rule.title,
                unit=rule.unit,
                value=value,
                verdict=verdict,
                thresholds=words,
                meaning=rule.meaning,
            )
        )
    for name, (title, meaning) in _COHORT.items():
        value, distance = outlying[name]
        judged.append(_judged_in_cohort(name, title, meaning, value, distance, spec))
    verdict = worst([score.verdict for score in judged])
    return ScanQuality(
        scan_id=scan.scan_id,
        patient_id=scan.patient_id,
        verdict=verdict,
        kept=verdict == "fail" and scan.scan_id in spec.keep,
        passed_through=scan.passed_through,
        turn=TURN_WORDS[scan.scores.turn] if registered else "",
        scores=tuple(judged),
    )


def _judged_in_cohort(
    name: str,
    title: str,
    meaning: str,
    value: float | None,
    distance: float | None,
    spec: QualitySpec,
) -> JudgedScore:
    verdict: Verdict = "none"
    if distance is not None:
        verdict = "warn" if abs(distance) > spec.cohort_outlier else "pass"
    here = "" if distance is None else f", here {abs(distance):.1f}"
    return JudgedScore(
        name=name,
        title=title,
        unit="",
        value=value,
        verdict=verdict,
        thresholds=f"within {spec.cohort_outlier:g} robust SDs of the cohort{here}",
        meaning=meaning,
    )


def _cohort_scores(
    scans: Sequence[ScoredScan],
) -> list[dict[str, tuple[float | None, float | None]]]:
    """Return value and robust z of each cohort score, per scan."""
    columns: dict[str, list[float | None]] = {
        name: [scan.scores.values.get(name) for scan in scans]
        for name in ("sharpness", "entropy_focus")
    }
    columns["histogram_distance"] = _histogram_distances(scans)
    z = {name: _robust_z(column) for name, column in columns.items()}
    return [{name: (columns[name][i], z[name][i]) for name in _COHORT} for i in range(len(scans))]


def _histogram_distances(scans: Sequence[ScoredScan]) -> list[float | None]:
    if not scans:
        return []
    share = np.array([scan.scores.histogram for scan in scans])
    middle = np.median(share, axis=0)
    middle /= max(float(middle.sum()), 1e-12)
    # In one dimension the earth mover's distance is the area between the cumulative distributions.
    distance = np.abs(np.cumsum(share, axis=1) - np.cumsum(middle)).sum(axis=1)
    return [round(float(d), 6) for d in distance]


def _robust_z(column: Sequence[float | None]) -> list[float | None]:
    known = np.array([value for value in column if value is not None])
    if len(known) < _MIN_COHORT:
        return [None] * len(column)
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    if spread == 0:
        return [None] * len(column)
    return [None if value is None else (value - middle) / spread for value in column]


def quality_table(qualities: Sequence[ScanQuality]) -> pd.DataFrame:
    """Return the table of quality.csv: one row per scan, a column and a verdict per score.

    Returns
    -------
    DataFrame of shape (n_scans, 7 + 2 n_scores)
        Columns scan_id, patient_id, verdict, kept, passed_through, turn, reasons, then each score
        and its verdict.
    """
    rows = []
    for quality in qualities:
        row: dict[str, object] = {
            "scan_id": quality.scan_id,
            "patient_id": quality.patient_id,
            "verdict": quality.verdict,
            "kept": quality.kept,
            "passed_through": quality.passed_through,
            "turn": quality.turn,
            "reasons": "; ".join(quality.reasons),
        }
        for score in quality.scores:
            row[score.name] = score.value
            row[f"{score.name}_verdict"] = score.verdict
        rows.append(row)
    return pd.DataFrame(rows)
