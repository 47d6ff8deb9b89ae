"""TransferClassifier: everything right of the features, as an estimator of scikit-learn.

The object that cross-validation, audit and refits fit fold by fold (`fit_view`) is the one that a
notebook fits to arrays (`fit`): both run `one_fit.fit_model`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from mri_transfer.models.features import FeatureSpec, FeatureTable, Pooling
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import AnyHeadSpec, LinearHeadSpec
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.fitted_model import FittedModel, patient_scores
from mri_transfer.training.one_fit import FitModel, FitRequest, FitResult, Run, fit_model
from mri_transfer.training.search import Hyperparameters, SearchSpec
from mri_transfer.training.settings import FoldSpec, PredictionSpec
from mri_transfer.training.tuning import TailPlan

__all__ = ["TransferClassifier", "configured_estimator"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_POSITIVE, _NEGATIVE = "positive", "negative"


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A head on frozen features, with all that is chosen inside training patients.

    Parameters
    ----------
    head : HeadSpec, optional
        The default linear head where nothing is given, with no more zones than slices.
    pooling : str
        Which table of features is read first; in a notebook a name and nothing more.
    aggregation : str
        How slices join; see `PredictionSpec.aggregation`.
    predictions : PredictionSpec, optional
        Recalibration and threshold; its aggregation is passed over.
    search : SearchSpec, optional
        No search where nothing is given.
    harmonisation : HarmonisationSpec, optional
        None where nothing is given. Needs covariates.
    tail : TailPlan, optional
        What is trained behind the cut; `fit_view` alone can, as arrays hold features only.
    n_inner_folds : int
    random_state : int
    device : {"auto", "cpu", "cuda"}
        Where heads that are networks are trained.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels, sorted; the second is the positive one.
    model_ : FittedModel
    threshold_ : float
        Score from which the positive label is predicted.
    n_features_in_ : int
    """

    def __init__(
        self,
        head: AnyHeadSpec | None = None,
        pooling: Pooling = "max",
        aggregation: Literal[
            "auto", "mean_probability", "mean_logit", "majority", "attention"
        ] = "auto",
        predictions: PredictionSpec | None = None,
        search: SearchSpec | None = None,
        harmonisation: HarmonisationSpec | None = None,
        tail: TailPlan | None = None,
        n_inner_folds: int = 5,
        random_state: int = 0,
        device: Literal["auto", "cpu", "cuda"] = "auto",
    ) -> None:
        self.head = head
        self.pooling = pooling
        self.aggregation = aggregation
        self.predictions = predictions
        self.search = search
        self.harmonisation = harmonisation
        self.tail = tail
        self.n_inner_folds = n_inner_folds
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def request(
        self, *, seed: int = 0, place: tuple[int, ...] = (), n_slices: int | None = None
    ) -> FitRequest:
        """Return what the parameters ask of a fit on scans of so many slices."""
        default = LinearHeadSpec()
        if n_slices is not None:
            default = LinearHeadSpec(zones=min(default.zones, n_slices))
        hyperparameters = Hyperparameters(
            pooling=self.pooling, head=self.head or default, aggregation=self.aggregation
        )
        return FitRequest(
            hyperparameters=hyperparameters,
            predictions=self.predictions or PredictionSpec(),
            search=self.search or SearchSpec(space="none"),
            harmonisation=self.harmonisation or HarmonisationSpec(),
            tail=self.tail,
            n_inner_folds=self.n_inner_folds,
            seed=seed,
            place=place,
            device=self.device,
        )

    def request_of(self, view: TrainingView, *, seed: int, place: tuple[int, ...]) -> FitRequest:
        """Return what the parameters ask of a fit to a view."""
        return self.request(seed=seed, place=place, n_slices=view.scans.features.shape[1])

    def with_hyperparameters(self, hyperparameters: Hyperparameters) -> Self:
        """Return a copy with others in place of the configured ones."""
        copy: Self = clone(self).set_params(
            head=hyperparameters.head,
            pooling=hyperparameters.pooling,
            aggregation=hyperparameters.aggregation,
        )
        return copy

    def without_choices(self) -> Self:
        """Return a copy that fits the head as it is: no search, no recalibration, no threshold."""
        bare = PredictionSpec(threshold=0.5, recalibration=("none",))
        copy: Self = clone(self).set_params(predictions=bare, search=None)
        return copy

    def n_fits(self, labels: IntArray) -> int:
        """Return how many heads a fit on patients with these labels (0 or 1) takes."""
        return self.request().n_fits(labels)

    def fit_view(
        self,
        view: TrainingView,
        *,
        seed: int,
        place: tuple[int, ...],
        run: Run = map,
        fitted: Callable[[int], None] = lambda _: None,
        fit: FitModel | None = None,
    ) -> Self:
        """Fit to the training patients of a fold.

        Parameters
        ----------
        view : TrainingView
        seed, place
            As in `FitRequest`.
        run, fitted
            As in `one_fit.fit_model`.
        fit : FitModel, optional
            What makes the fit, if not `one_fit.fit_model`.
        """
        request = self.request_of(view, seed=seed, place=place)
        make = fit_model if fit is None else fit
        self.result_: FitResult = make(view, request, run=run, fitted=fitted)
        return self

    @property
    def model_(self) -> FittedModel:
        """The fitted model."""
        return self.result_.model

    @property
    def threshold_(self) -> float:
        """Score from which the positive label is predicted."""
        return self.model_.threshold

    def fit(
        self,
        X: npt.ArrayLike,  # noqa: N803
        y: npt.ArrayLike,
        groups: npt.ArrayLike | None = None,
        covariates: pd.DataFrame | None = None,
    ) -> Self:
        """Fit to arrays.

        Parameters
        ----------
        X : array_like of float, shape (n_scans, n_features) or (n_scans, n_slices, n_features)
        y : array_like, shape (n_scans,)
            Two labels, the same for all scans of a patient.
        groups : array_like, shape (n_scans,), optional
            The patient of each scan; each scan is one of its own where nothing is given.
        covariates : DataFrame, optional
            Indexed by patient as in `groups`, as text; needed by harmonisation.

        Raises
        ------
        ValueError
            If there are not two labels, a patient has both, or a feature is not a finite number.
        """
        rows, labels = validate_data(self, X, y, dtype=np.float32, allow_nd=True)
        check_classification_targets(labels)
        self.classes_, positive = np.unique(labels, return_inverse=True)
        if type_of_target(labels) != "binary" or len(self.classes_) != 2:
            raise ValueError(
                "Only binary classification is supported. The type of the target is "
                f"{type_of_target(labels)}; the number of classes is {len(self.classes_)}, and "
                "1 class or more than 2 cannot be told apart."
            )
        table = _table(rows, groups)
        data = LabelledFeatures(
            tables={self.request().hyperparameters.pooling: table},
            labels=_patient_labels(table, positive),
            positive=_POSITIVE,
            covariates=covariates,
        )
        return self.fit_view(data.view(data.labels), seed=self.random_state, place=())

    def predict_proba(
        self,
        X: npt.ArrayLike,  # noqa: N803
        groups: npt.ArrayLike | None = None,
        covariates: pd.DataFrame | None = None,
    ) -> FloatArray:
        """Return the probability of each label for each scan's patient, shape (n_scans, 2).

        Parameters
        ----------
        X, groups, covariates
            As in `fit`; scans of one patient have the patient's probability.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float32, allow_nd=True, reset=False)
        table = _table(rows, groups)
        data = LabelledFeatures(
            tables={self.model_.pooling: table},
            labels=dict.fromkeys(table.patient_ids, _NEGATIVE),
            positive=_POSITIVE,
            covariates=covariates,
        )
        scores = dict(zip(data.patient_ids, patient_scores(self.model_, data), strict=True))
        positive = np.array([scores[name] for name in table.patient_ids])
        return np.column_stack([1.0 - positive, positive])

    def predict(
        self,
        X: npt.ArrayLike,  # noqa: N803
        groups: npt.ArrayLike | None = None,
        covariates: pd.DataFrame | None = None,
    ) -> npt.NDArray[Any]:
        """Return each scan's predicted label by the fit's own threshold, shape (n_scans,)."""
        check_is_fitted(self)
        positive = self.predict_proba(X, groups, covariates)[:, 1] >= self.threshold_
        labels: npt.NDArray[Any] = self.classes_[positive.astype(int)]
        return labels


def _table(rows: npt.NDArray[np.float32], groups: npt.ArrayLike | None) -> FeatureTable:
    features = rows if rows.ndim == 3 else rows[:, None]
    names = tuple(f"{i:06d}" for i in range(len(rows)))
    owners = names if groups is None else tuple(map(str, np.asarray(groups).tolist()))
    if len(owners) != len(rows):
        raise ValueError(f"groups must name the patient of each of {len(rows)} scans")
    return FeatureTable(
        scan_ids=names,
        patient_ids=owners,
        scan_sha256=("",) * len(rows),
        features=np.asarray(features, dtype=np.float32),
        z_mm=np.zeros(features.shape[:2], dtype=np.float32),
    )


def _patient_labels(table: FeatureTable, positive: IntArray) -> dict[str, str]:
    words = [_POSITIVE if one else _NEGATIVE for one in positive]
    labels = dict(zip(table.patient_ids, words, strict=True))
    torn = sorted(
        {name for name, word in zip(table.patient_ids, words, strict=True) if labels[name] != word}
    )
    if torn:
        raise ValueError(f"the scans of a patient must have one label: {', '.join(torn[:5])}")
    return labels


class _Settings(Protocol):
    """What a run's configuration and a bundle's `ModelConfig` have in common."""

    @property
    def hyperparameters(self) -> Hyperparameters: ...
    @property
    def predictions(self) -> PredictionSpec: ...
    @property
    def search(self) -> SearchSpec: ...
    @property
    def harmonisation(self) -> HarmonisationSpec: ...
    @property
    def folds(self) -> FoldSpec: ...
    @property
    def features(self) -> FeatureSpec: ...


def configured_estimator(
    settings: _Settings, *, tail: TailPlan | None = None
) -> TransferClassifier:
    """Return the estimator that a configuration describes.

    Parameters
    ----------
    settings
    tail : TailPlan, optional
        Without it heads are fitted to the features of the frozen trunk.
    """
    return TransferClassifier(
        head=settings.hyperparameters.head,
        pooling=settings.hyperparameters.pooling,
        aggregation=settings.hyperparameters.aggregation,
        predictions=settings.predictions,
        search=settings.search,
        harmonisation=settings.harmonisation,
        tail=tail,
        n_inner_folds=settings.folds.n_inner_folds,
        device=settings.features.device,
    )
