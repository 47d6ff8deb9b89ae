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

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
