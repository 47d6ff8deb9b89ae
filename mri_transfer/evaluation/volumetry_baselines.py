"""What plain volumetry reaches on the same folds: the figures that a radiologist knows.

Two baselines. *Plain volumetry* is a logistic regression on shares of ventricles, outer fluid and
grey matter (`scans.volumetry`). The *ventricular percentile for age and sex* says how many in a
hundred people of the same age and sex without the positive label have smaller ventricles; it learns
what is usual from the training patients without that label, and nothing from those with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.evaluation.image_baselines import penalised_logistic, score_designs
from mri_transfer.evaluation.ventricular_norm import (
    NormativePercentile,
    normative_design,
    normative_people,
)
from mri_transfer.metrics.task import Task
from mri_transfer.scans.volumetry import VOLUME_NAMES, BrainVolumes
from mri_transfer.training.folds import Folds

__all__ = ["PERCENTILE", "VOLUMETRY", "volumetry_baselines"]

VOLUMETRY, PERCENTILE = "plain volumetry", "ventricular percentile for age and sex"


def volumetry_baselines(
    volumes: Sequence[BrainVolumes],
    patient_ids: Sequence[str],
    *,
    patients: pd.DataFrame,
    folds: Folds,
    positive_label: str,
    negative_label: str,
    seed: int,
) -> dict[str, pd.DataFrame]:
    """Score every patient by volumes of the brain.

    Parameters
    ----------
    volumes : sequence of BrainVolumes, length n_scans
    patient_ids : sequence of str, length n_scans
        Scans of one patient are averaged.
    patients : DataFrame
        Indexed by patient_id. Without ages and sexes there is no percentile.
    folds : Folds
    positive_label, negative_label : str
    seed : int
        Of the folds inside training patients.

    Returns
    -------
    dict of str to DataFrame
        By the baseline's name, the columns of `predictions/patients.csv`. The score of the
        percentile is the percentile, 0 to 1.
    """
    shares = _patient_table(volumes, patient_ids)
    designs: dict[str, tuple[pd.DataFrame, Any]] = {VOLUMETRY: (shares, penalised_logistic())}
    people = normative_people(volumes, patient_ids, patients)
    if people is not None:
        sexes = sorted({sex for sex in people["sex"] if sex})
        designs[PERCENTILE] = (normative_design(people, sexes), NormativePercentile())
    return score_designs(
        designs,
        folds=folds,
        task=Task(positive=positive_label, negative=negative_label),
        seed=seed,
    )


def _patient_table(volumes: Sequence[BrainVolumes], patient_ids: Sequence[str]) -> pd.DataFrame:
    rows = np.stack([one.shares for one in volumes])
    table = pd.DataFrame(rows, index=list(patient_ids), columns=list(VOLUME_NAMES))
    return table.groupby(level=0).mean()
