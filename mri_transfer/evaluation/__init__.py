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

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
