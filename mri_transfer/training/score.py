"""Fitted models applied to scans and to whole cohorts; nothing is fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.models.features import FeatureTable
from mri_transfer.training.fitted_model import FittedModel, infer, prediction_tables
from mri_transfer.training.folds import Folds
from mri_transfer.training.predictions import PatientScores, SliceScores

__all__ = ["predict_folds", "score_by", "score_patients"]


def score_patients(
    trained: FittedModel,
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
    trained : FittedModel
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
    if covariates is not None:
        one = one.with_covariates(covariates)
    return predict_folds([one], tables, everybody, positive_label=positive, negative_label=others)


def score_by(
    heads: Sequence[FittedModel], features: npt.NDArray[np.float32], covariates: pd.DataFrame | None
) -> npt.NDArray[np.float64]:
    """Score scans, one patient each, by several heads.

    Parameters
    ----------
    heads : sequence of FittedModel
    features : ndarray of float32, shape (n, n_slices, n_features)
    covariates : DataFrame, optional
        One row a scan: site and what is kept, if the heads harmonise. Without it features are
        taken as harmonised.

    Returns
    -------
    ndarray of float64, shape (n_heads, n)
        Recalibrated.
    """
    owners = [f"scan{i:06d}" for i in range(len(features))]
    known = None if covariates is None else covariates.set_axis(owners, axis=0)
    rows = []
    for one in heads:
        head = one.with_covariates(known)
        scores = head.patients(head.slices(features, owners), owners)
        rows.append([scores[owner] for owner in owners])
    return np.array(rows, dtype=np.float64).reshape(len(heads), len(owners))


def predict_folds(
    trained: Sequence[FittedModel],
    tables: Mapping[str, FeatureTable],
    folds: Folds,
    *,
    positive_label: str,
    negative_label: str,
) -> tuple[PatientScores, SliceScores]:
    """Score each outer fold's test patients with its model.

    A slice's score is the head's own probability; a patient's is joined and recalibrated.
    """
    held_out = [
        infer(
            one,
            tables,
            [
                name
                for name, fold in zip(folds.patient_ids, folds.assignment[one.repeat], strict=True)
                if fold == one.fold
            ],
        )
        for one in trained
    ]
    labels = dict(zip(folds.patient_ids, folds.labels, strict=True))
    return prediction_tables(
        held_out, labels, positive_label=positive_label, negative_label=negative_label
    )
