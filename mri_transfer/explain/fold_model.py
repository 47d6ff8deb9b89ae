"""A trained fold as the model of one patient, in double precision, to be differentiated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.models.model import FeatureShift, PatientModel
from mri_transfer.training.fitted_model import FittedModel, Harmoniser

__all__ = ["feature_gradients", "fold_model"]

FloatArray = npt.NDArray[np.float32]


def fold_model(model: FittedModel, patient_id: str) -> PatientModel:
    """Return the model of a fold for one patient.

    Parameters
    ----------
    model : FittedModel
    patient_id : str
        Harmonisation depends on the patient's site and covariates.

    Raises
    ------
    HeadError
        If the head is of an unknown kind.
    """
    shift = None if model.harmoniser is None else _shift(model.harmoniser, patient_id)
    return (
        PatientModel.of_head(model.head, harmonisation=shift).double().eval().requires_grad_(False)
    )


def feature_gradients(
    model: PatientModel, features: FloatArray, slices: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.float64]:
    """Differentiate each slice's log-odds by the slice's features.

    Parameters
    ----------
    model : PatientModel
    features : ndarray of float32, shape (n_slices, n_features)
    slices : ndarray of int64, shape (n_slices,), optional
        Which slices of the scan they are; all of them, in order, if not given.

    Returns
    -------
    ndarray of float64, shape (n_slices, n_features)
    """
    at = np.arange(len(features)) if slices is None else slices
    given = torch.from_numpy(features).double().requires_grad_()
    # A slice's log-odds depend on its own features alone, so that their sum's gradient is theirs.
    total = model.slice_logits(given, torch.from_numpy(at)).sum()
    (gradient,) = torch.autograd.grad(total, given)
    return np.asarray(gradient.numpy(), dtype=np.float64)


def _shift(harmoniser: Harmoniser, patient_id: str) -> FeatureShift:
    """Return what harmonisation does to a patient's features: it is the same for every scan."""
    combat = harmoniser.combat
    n_features = len(combat.tensors["mean"])
    ends = np.stack([np.zeros(n_features), np.ones(n_features)])[None]
    covariates = harmoniser.covariates.loc[[patient_id]]
    at_zero, at_one = np.asarray(combat.apply(ends, covariates))[0]
    return FeatureShift(torch.from_numpy(at_one - at_zero), torch.from_numpy(at_zero))
