"""How good the scores are, by patient: figures, intervals, baselines, caveats.

`evaluate` turns the tables of a run into an `Evaluation`, the content of `evaluation.json`. The
functions it is made of work on plain arrays: labels of shape (n_patients,) with 1 for the
positive label, and scores of shape (n_patients,) or (n_repeats, n_patients).

============================  ====================================================================
`summary`                     `evaluate`, its Spec, and the JSON
`tables`                      checks of the tables of scores
`patient_level`               every figure of patients: pooled, per repeat, per fold
`slice_level`                 figures that count slices; intervals resample patients
`discrimination`, `delong`    AUC with DeLong and bootstrap intervals, ROC
`precision_recall`            average precision
`operating_point`             sensitivity, specificity, predictive values at a threshold
`calibration`, `cox`          Brier score and curve; intercept and slope
`intervals`                   exact, square-and-add and patient bootstrap intervals
`baselines`, `comparison`     covariates alone on the same folds, and the difference to the model
`run_comparison`              several runs on the patients that all of them scored
`notices`                     what is said first wherever a figure or a prediction is shown
`caveats`                     what a reader has to know before believing the figures
============================  ====================================================================
"""

from __future__ import annotations

from mri_transfer.evaluation.baselines import (
    BaselineSpec,
    baseline_scores,
    default_baselines,
    refuse_circular,
)
from mri_transfer.evaluation.calibration import CalibrationCurve, brier, calibration_curve
from mri_transfer.evaluation.caveats import find_caveats, standardised_mean_difference
from mri_transfer.evaluation.comparison import Rival, compare_rival
from mri_transfer.evaluation.cox import calibration_intercept, calibration_slope
from mri_transfer.evaluation.delong import (
    AucDifference,
    DelongAuc,
    delong_auc,
    delong_difference,
)
from mri_transfer.evaluation.discrimination import (
    auc,
    bootstrap_auc,
    delong_placements,
    roc_curve,
    youden_threshold,
)
from mri_transfer.evaluation.document import Evaluation
from mri_transfer.evaluation.intervals import (
    Estimate,
    exact_proportion,
    patient_bootstrap,
    resample_patients,
    square_and_add,
)
from mri_transfer.evaluation.operating_point import Confusion, confusion, rates
from mri_transfer.evaluation.patient_level import patient_metrics
from mri_transfer.evaluation.precision_recall import (
    average_precision,
    average_precision_interval,
)
from mri_transfer.evaluation.run_comparison import ComparedRun, compare_runs
from mri_transfer.evaluation.settings import EvaluationFacts, EvaluationSpec, Evidence
from mri_transfer.evaluation.slice_level import slice_metrics
from mri_transfer.evaluation.summary import evaluate
from mri_transfer.evaluation.tables import ScoreArrays, score_arrays

__all__ = [
    "AucDifference",
    "BaselineSpec",
    "CalibrationCurve",
    "ComparedRun",
    "Confusion",
    "DelongAuc",
    "Estimate",
    "Evaluation",
    "EvaluationFacts",
    "EvaluationSpec",
    "Evidence",
    "Rival",
    "ScoreArrays",
    "auc",
    "average_precision",
    "average_precision_interval",
    "baseline_scores",
    "bootstrap_auc",
    "brier",
    "calibration_curve",
    "calibration_intercept",
    "calibration_slope",
    "compare_rival",
    "compare_runs",
    "confusion",
    "default_baselines",
    "delong_auc",
    "delong_difference",
    "delong_placements",
    "evaluate",
    "exact_proportion",
    "find_caveats",
    "patient_bootstrap",
    "patient_metrics",
    "rates",
    "refuse_circular",
    "resample_patients",
    "roc_curve",
    "score_arrays",
    "slice_metrics",
    "square_and_add",
    "standardised_mean_difference",
    "youden_threshold",
]
