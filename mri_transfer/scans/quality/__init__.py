"""Quality control: scores of each scan, judged by thresholds and compared with the cohort."""

from __future__ import annotations

from mri_transfer.scans.quality.judge import ScoredScan, judge_cohort, quality_table
from mri_transfer.scans.quality.rules import RULES, QualitySpec
from mri_transfer.scans.quality.scores import ScanScores, ScoreStore, measure_scan, score_key
from mri_transfer.scans.quality.verdicts import JudgedScore, ScanQuality, Verdict

__all__ = [
    "RULES",
    "JudgedScore",
    "QualitySpec",
    "ScanQuality",
    "ScanScores",
    "ScoreStore",
    "ScoredScan",
    "Verdict",
    "judge_cohort",
    "measure_scan",
    "quality_table",
    "score_key",
]
