"""How good the scores are, by patient: figures, intervals, baselines, caveats.

`evaluate` turns the tables of a run into an `Evaluation`, the content of `evaluation.json`. The
figures themselves are computed in `mri_transfer.metrics`.

============================  ====================================================================
`evaluate`, `settings`        `evaluate`, its Spec
`document`, `results`         the content of `evaluation.json`
`tables`                      checks of the tables of scores
`patient_level`               every figure of patients: pooled, per repeat, per fold
`slice_level`                 figures that count slices; intervals resample patients
`baselines`, `comparison`     covariates alone on the same folds, and the difference to the model
`incremental_value`           what the image adds to covariates
`run_comparison`              several runs on the patients that all of them scored
`notices`                     what is said first wherever a figure or a prediction is shown
`caveats`                     what a reader has to know before believing the figures
============================  ====================================================================
"""

from __future__ import annotations

from mri_transfer.cohorts.circular_covariates import refuse_circular
from mri_transfer.evaluation.baselines import BaselineSpec, baseline_scores, default_baselines
from mri_transfer.evaluation.caveats import find_caveats, standardised_mean_difference
from mri_transfer.evaluation.comparison import BaselineResult, compare_baseline
from mri_transfer.evaluation.document import Evaluation, EvaluationDocument
from mri_transfer.evaluation.evaluate import evaluate
from mri_transfer.evaluation.patient_level import patient_metrics
from mri_transfer.evaluation.run_comparison import ComparedRun, compare_runs
from mri_transfer.evaluation.settings import EvaluationFacts, EvaluationSpec, Evidence
from mri_transfer.evaluation.slice_level import slice_metrics
from mri_transfer.evaluation.tables import ScoreArrays, score_arrays

__all__ = [
    "BaselineResult",
    "BaselineSpec",
    "ComparedRun",
    "Evaluation",
    "EvaluationDocument",
    "EvaluationFacts",
    "EvaluationSpec",
    "Evidence",
    "ScoreArrays",
    "baseline_scores",
    "compare_baseline",
    "compare_runs",
    "default_baselines",
    "evaluate",
    "find_caveats",
    "patient_metrics",
    "refuse_circular",
    "score_arrays",
    "slice_metrics",
    "standardised_mean_difference",
]
