"""PatientClassifier: the linear head as a scikit-learn classifier over patients' features.

For notebooks: cross-validation, pipelines and model selection of scikit-learn work with it. It sees
one row a patient, such as `FeatureTable.patient_means` gives, and so has no zones and no slices.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import Fit, LinearHeadSpec, apply_head, fit_heads

__all__ = ["PatientClassifier"]


class PatientClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
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

    def __init__(
        self,
        inverse_l2: tuple[float, ...] = (10.0, 30.0, 100.0),
        scaling: Literal["global", "feature"] = "global",
        balanced: bool = True,
    ) -> None:
        self.inverse_l2 = inverse_l2
        self.scaling = scaling
        self.balanced = balanced

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> PatientClassifier:  # noqa: N803
        """Fit on patients.

        Parameters
        ----------
        X : array_like of float, shape (n_patients, n_features)
        y : array_like, shape (n_patients,)
            Two labels.

        Raises
        ------
        ValueError
            If there are not two labels, or a feature is not a finite number.
        """
        rows, labels = validate_data(self, X, y, dtype=np.float32)
        check_classification_targets(labels)
        self.classes_, positive = np.unique(labels, return_inverse=True)
        if type_of_target(labels) != "binary" or len(self.classes_) != 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(labels)}; the number of classes is {len(self.classes_)}, and "
                "1 class or more than 2 cannot be told apart."
            )
        spec = LinearHeadSpec(
            scaling=self.scaling,
            inverse_l2=tuple(map(float, self.inverse_l2)),
            zones=1,
            balanced=self.balanced,
        )
        fit = Fit(train=np.ones((len(rows), 1), dtype=np.bool_), seed=0)
        _, self.head_ = next(fit_heads(spec, _one_slice(rows), positive.astype(np.int64), [fit]))
        return self

    def decision_function(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return the log-odds of the positive label, shape (n_patients,)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float32, reset=False)
        logits = apply_head(self.head_, np.asarray(rows, dtype=np.float32)[:, None])
        return np.asarray(logits.logits[:, 0], dtype=np.float64)

    def predict_proba(self, X: npt.ArrayLike) -> npt.NDArray[np.float64]:  # noqa: N803
        """Return the probability of each label, shape (n_patients, 2)."""
        from scipy.special import expit

        odds = self.decision_function(X)
        return np.column_stack([expit(-odds), expit(odds)])

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:  # noqa: N803
        """Return the likelier label of each patient, shape (n_patients,)."""
        check_is_fitted(self)
        labels: npt.NDArray[Any] = self.classes_[(self.decision_function(X) > 0).astype(int)]
        return labels


def _one_slice(rows: npt.NDArray[np.float32]) -> FeatureTable:
    names = tuple(f"{i:06d}" for i in range(len(rows)))
    return FeatureTable(
        scan_ids=names,
        patient_ids=names,
        scan_sha256=("",) * len(names),
        features=rows[:, None],
        z_mm=np.zeros((len(rows), 1), dtype=np.float32),
    )
