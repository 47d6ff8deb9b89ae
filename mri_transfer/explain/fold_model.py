"""A trained fold as the model of one patient, in double precision, to be differentiated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.models.model import FeatureShift, PatientModel
from mri_transfer.training.fitted_model import TrainedFold

__all__ = ["feature_gradients", "fold_model"]

FloatArray = npt.NDArray[np.float32]


def fold_model(one: TrainedFold, owner: str) -> PatientModel:
    """Return the model of a fold for one patient, whom harmonisation asks for site and covariates.

    Parameters
    ----------
    one : TrainedFold
    owner : str
        The patient.

    Raises
    ------
    HeadError
        If the head is of an unknown kind.
    """
    shift = None if one.harmoniser is None else _shift(one, owner)
    return PatientModel.of_head(one.head, harmonisation=shift).double().eval().requires_grad_(False)


def feature_gradients(model: PatientModel, features: FloatArray) -> npt.NDArray[np.float64]:
    """Differentiate each slice's log-odds by the slice's features.

    Parameters
    ----------
    model : PatientModel
    features : ndarray of float32, shape (n_slices, n_features)
        Of a whole scan.

    Returns
    -------
    ndarray of float64, shape (n_slices, n_features)
    """
    given = torch.from_numpy(features).double().requires_grad_()
    # A slice's log-odds depend on its own features alone, so that their sum's gradient is theirs.
    total = model.slice_logits(given, torch.arange(len(features))).sum()
    (gradient,) = torch.autograd.grad(total, given)
    found: npt.NDArray[np.float64] = gradient.numpy()
    return found


def _shift(one: TrainedFold, owner: str) -> FeatureShift:
    """Return what harmonisation does to a patient's features: it is the same for every scan."""
    assert one.harmoniser is not None
    combat = one.harmoniser.combat
    n_features = len(combat.tensors["mean"])
    ends = np.stack([np.zeros(n_features), np.ones(n_features)])[None]
    covariates = one.harmoniser.covariates.loc[[owner]]
    at_zero, at_one = np.asarray(combat.apply(ends, covariates))[0]
    return FeatureShift(torch.from_numpy(at_one - at_zero), torch.from_numpy(at_zero))
