"""The patients that the scores fail most, with what is known of them and their slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.evaluation.covariates import check_order
from mri_transfer.evaluation.group_results import (
    Failure,
    ScoredSlice,
)
from mri_transfer.evaluation.tables import ScoreArrays
from mri_transfer.metrics.calibration import CLIP

__all__ = ["worst_patients"]


#: Slices named at either end of a patient's slice scores.
_SLICES_SHOWN = 3


def worst_patients(
    arrays: ScoreArrays,
    patients: pd.DataFrame,
    slice_scores: pd.DataFrame | None,
    *,
    n: int = 10,
) -> tuple[Failure, ...]:
    """Return the patients with the largest log loss, the worst first.

    The log loss is minus the logarithm of the score that the patient's own label was given; a
    score of one half costs .69, one of a hundredth 4.6.

    Parameters
    ----------
    arrays : ScoreArrays
    patients : DataFrame
        Indexed by patient_id in the order of `arrays`: label and covariates.
    slice_scores : DataFrame or None
        Columns repeat, patient_id, scan_id, slice, z_mm, score. None for a head that gives none.
    n : int
        How many patients; all of them if there are fewer.

    Returns
    -------
    tuple of Failure
        With three slices at most of those with the lowest and the highest scores.

    Raises
    ------
    EvaluationError
        If the patients are not those of the scores, in their order.
    """
    check_order(arrays, patients)
    own = np.where(arrays.positive, arrays.scores, 1.0 - arrays.scores)
    loss = -np.log(np.clip(own, CLIP, 1.0)).mean(axis=0)
    wrong = (arrays.predicted != arrays.positive).mean(axis=0)
    rows = []
    # Patients are in sorted order: a stable sort lets their names settle equal losses.
    for i in np.argsort(-loss, kind="stable")[:n]:
        name = arrays.patient_ids[i]
        rows.append(
            Failure(
                patient_id=name,
                label=str(patients["label"].iloc[i]),
                loss=loss[i],
                mean_score=arrays.scores[:, i].mean(),
                score_low=arrays.scores[:, i].min(),
                score_high=arrays.scores[:, i].max(),
                called_wrongly=wrong[i],
                covariates=_covariates(patients.iloc[int(i)]),
                **_slices(slice_scores, name),
            )
        )
    return tuple(rows)


def _covariates(patient: pd.Series[Any]) -> dict[str, Any]:
    plain = {}
    for name, value in patient.items():
        if name == "label":
            continue
        value = value.item() if isinstance(value, np.generic) else value
        missing = pd.isna(value) or (isinstance(value, float) and not np.isfinite(value))
        plain[str(name)] = None if missing else value
    return plain


def _slices(
    slice_scores: pd.DataFrame | None, patient_id: str
) -> dict[str, tuple[ScoredSlice, ...]]:
    names = ("slices", "lowest_slices", "highest_slices")
    if slice_scores is None:
        return dict.fromkeys(names, ())
    own = slice_scores[slice_scores["patient_id"] == patient_id]
    means = own.groupby(["scan_id", "slice"], as_index=False, sort=True)[["z_mm", "score"]].mean()
    rows = [
        ScoredSlice(scan_id=str(scan_id), slice=int(number), z_mm=z_mm, score=score)
        for scan_id, number, z_mm, score in means.itertuples(index=False)
    ]
    ranked = sorted(rows, key=lambda row: row.score)
    picked = (rows, ranked[:_SLICES_SHOWN], ranked[::-1][:_SLICES_SHOWN])
    return dict(zip(names, map(tuple, picked), strict=True))
