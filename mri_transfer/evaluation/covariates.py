"""Covariates of scored patients, read from the columns of a patient table."""

from __future__ import annotations

import pandas as pd

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.tables import ScoreArrays

__all__ = [
    "check_order",
]


def check_order(arrays: ScoreArrays, patients: pd.DataFrame) -> None:
    """Refuse a patient table whose rows are not the scored patients in their order."""
    if list(patients.index) != list(arrays.patient_ids):
        raise EvaluationError(
            "the patient table does not list the scored patients in their order",
            found=f"{len(patients)} patients",
            expected=f"the {arrays.n} patients of the scores, indexed by patient_id",
            remedy="Take the rows with patients.loc[list(arrays.patient_ids)]",
        )
