"""A bundle's head applied to a whole cohort, as tables of scores; nothing is fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from mri_transfer.features import FeatureTable
from mri_transfer.folds import Folds
from mri_transfer.predictions import PatientScores, SliceScores
from mri_transfer.trained import Harmoniser, TrainedFold, predict_folds

__all__ = ["score_patients"]


def score_patients(
    trained: TrainedFold,
    tables: Mapping[str, FeatureTable],
    labels: Mapping[str, str],
    *,
    positive: str,
    others: str,
    covariates: pd.DataFrame | None = None,
) -> tuple[PatientScores, SliceScores]:
    """Score the patients of a cohort, all scans of a patient joined.

    Parameters
    ----------
    trained : TrainedFold
        Of a bundle.
    tables : mapping of str to FeatureTable
        By pooling.
    labels : mapping of str to str
        Of every patient to score: the positive label or what the others are called. Other patients
        of the tables are passed over.
    positive, others : str
    covariates : DataFrame, optional
        Indexed by patient_id, if the head harmonises sites.

    Returns
    -------
    patients : PatientScores
    slices : SliceScores
        Both with repeat 0 and fold 0.
    """
    names = tuple(sorted(labels))
    everybody = Folds(
        patient_ids=names,
        labels=tuple(labels[name] for name in names),
        assignment=np.zeros((1, len(names)), dtype=np.int64),
    )
    one = dataclasses.replace(trained, repeat=0, fold=0)
    if one.harmoniser is not None and covariates is not None:
        known = Harmoniser(combat=one.harmoniser.combat, covariates=covariates)
        one = dataclasses.replace(one, harmoniser=known)
    return predict_folds([one], tables, everybody, positive_label=positive, negative_label=others)
