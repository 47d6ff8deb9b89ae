"""PatientClassifier: the linear head as a scikit-learn classifier over patients' features.

For notebooks: cross-validation, pipelines and model selection of scikit-learn work with it. It sees
one row a patient, such as `FeatureTable.patient_means` gives, and so has no zones and no slices;
nothing is chosen in it. `TransferClassifier` is the whole of it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted, validate_data

from mri_transfer.models.heads import Head, LinearHeadSpec, apply_head
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.one_fit import FitRequest
from mri_transfer.training.search import Hyperparameters
from mri_transfer.training.settings import PredictionSpec

__all__ = ["PatientClassifier"]


class PatientClassifier(TransferClassifier):
    """L2 logistic regression, averaged over penalties, on one row of features a patient.

    Parameters
    ----------
    inverse_l2 : sequence of float
        Scikit-learn's C, one or several: the classifier is the mean of those of all of them.
    scaling : {"global", "feature"}
        As in `LinearHeadSpec`.
    balanced : bool
        Weigh labels inversely to their frequency.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels, sorted; the second is the positive one.
    head_ : Head
        The fitted head, as a bundle holds it.
    n_features_in_ : int
    """

    #: The problem is convex: every seed gives the same solution.
    random_state = 0

    def __init__(
        self,
        inverse_l2: tuple[float, ...] = (10.0, 30.0, 100.0),
        scaling: Literal["global", "feature"] = "global",
        balanced: bool = True,
    ) -> None:
        self.inverse_l2 = inverse_l2
        self.scaling = scaling
        self.balanced = balanced

    def request(
        self, *, seed: int = 0, place: tuple[int, ...] = (), n_slices: int | None = None
    ) -> FitRequest:
        """Return what the parameters ask of a fit."""
        head = LinearHeadSpec(
            scaling=self.scaling,
            inverse_l2=tuple(map(float, self.inverse_l2)),
            zones=1,
            balanced=self.balanced,
        )
        return FitRequest(
            hyperparameters=Hyperparameters(pooling="max", head=head, aggregation="auto"),
            predictions=PredictionSpec(threshold=0.5, recalibration=("none",)),
            seed=seed,
            place=place,
        )

    @property
    def head_(self) -> Head:
        """The fitted head."""
        return self.model_.head

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return the log-odds of the positive label, shape (n_patients,)."""
        check_is_fitted(self)
        rows = np.asarray(validate_data(self, X, dtype=np.float32, reset=False))
        return np.asarray(apply_head(self.head_, rows[:, None]).logits[:, 0], dtype=np.float64)
