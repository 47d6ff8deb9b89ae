"""What the cohort's covariates reach without any image: the bar an image model has to pass.

A baseline is a logistic regression on named covariates. It is fitted on the training patients of
the very folds that the model was trained on and scores the patients they hold out. Imputation,
scaling, categories and the threshold come from training patients only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.circular_covariates import is_circular, refuse_circular
from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.core.specs import STRICT, suggestion
from mri_transfer.errors import ConfigurationError, EvaluationError
from mri_transfer.metrics.discrimination import youden_threshold
from mri_transfer.metrics.task import Task
from mri_transfer.training.folds import inner_folds

__all__ = [
    "BaselineSpec",
    "baseline_scores",
    "covariate_design",
    "covariate_encoder",
    "covariate_model",
    "default_baselines",
    "score_folds",
]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BaselineSpec:
    """A logistic regression on covariates of the manifest."""

    covariates: tuple[str, ...] = Field(min_length=1)
    """Columns of the patient table."""
    regularisation_c: float = Field(default=1.0, gt=0)
    """Inverse strength of the L2 penalty on standardised covariates (scikit-learn's C)."""
    n_inner_folds: int = Field(default=5, ge=2)
    """Folds inside training patients that give the scores for the threshold."""

    @model_validator(mode="after")
    def _check(self) -> BaselineSpec:
        refuse_circular(self.covariates)
        return self

    @property
    def name(self) -> str:
        """The name in tables, such as ``age + nwbv``."""
        return " + ".join(self.covariates)


def default_baselines(
    covariates: Sequence[str], available: Sequence[str], *, n_inner_folds: int = 5
) -> tuple[BaselineSpec, ...]:
    """Return the baselines of a cohort.

    ``age``, ``sex`` and ``age + sex`` where the table has them; for each configured covariate c
    itself and ``age + c``; with several, all of them with age and sex.

    Parameters
    ----------
    covariates : sequence of str
        Named in the configuration.
    available : sequence of str
        Columns of the patient table.
    n_inner_folds : int

    Raises
    ------
    ConfigurationError
        If a covariate is circular or not in the table.
    """
    refuse_circular(covariates)
    columns = [name for name in available if not is_circular(name)]
    unknown = [name for name in covariates if name not in columns]
    if unknown:
        raise ConfigurationError(
            "a covariate is not in the manifest",
            where="evaluation.covariates",
            found=", ".join(unknown),
            expected=f"one of {', '.join(columns) or 'none: the manifest has no covariates'}",
            remedy=f"{suggestion(unknown[0], columns)}Correct evaluation.covariates",
        )
    basic = [name for name in ("age", "sex") if name in columns]
    extra = [name for name in dict.fromkeys(covariates) if name not in basic]
    sets: list[tuple[str, ...]] = [(name,) for name in basic]
    if len(basic) == 2:
        sets.append(("age", "sex"))
    for name in extra:
        sets.append((name,))
        if "age" in basic:
            sets.append(("age", name))
    if len(extra) > 1:
        sets.append((*basic, *extra))
    return tuple(
        BaselineSpec(covariates=names, n_inner_folds=n_inner_folds) for names in dict.fromkeys(sets)
    )


def baseline_scores(
    spec: BaselineSpec,
    *,
    patients: pd.DataFrame,
    folds: pd.DataFrame,
    task: Task,
    seed: int,
) -> pd.DataFrame:
    """Score every patient by a baseline fitted without that patient's fold.

    Parameters
    ----------
    spec : BaselineSpec
    patients : DataFrame
        Indexed by patient_id, one column a covariate. Missing is NaN, None or an empty text.
    folds : DataFrame
        Columns repeat, patient_id, fold, label.
    task : Task
    seed : int
        Of the inner splits that the threshold comes from.

    Returns
    -------
    DataFrame
        The columns of `predictions/patients.csv`, one row for each row of `folds`, sorted by
        repeat, fold and patient. `n_slices` is 0.

    Raises
    ------
    ConfigurationError
        If a covariate is not in the table.
    EvaluationError
        If a covariate is missing for all training patients of a fold.
    """
    design = covariate_design(patients, spec.covariates)
    return score_folds(
        covariate_model(design, spec.regularisation_c),
        lambda _, train, test: (design.loc[train], design.loc[test]),
        folds=folds,
        task=task,
        n_inner_folds=spec.n_inner_folds,
        seed=seed,
    )


def score_folds(
    model: Any,
    designs: Callable[[tuple[int, int], pd.Series, pd.Series], tuple[pd.DataFrame, pd.DataFrame]],
    *,
    folds: pd.DataFrame,
    task: Task,
    n_inner_folds: int,
    seed: int,
) -> pd.DataFrame:
    """Fit a model to the training patients of each fold and score those it holds out.

    Parameters
    ----------
    model : scikit-learn classifier
        Cloned for every fit.
    designs : callable
        Takes (repeat, fold) and the ids of training and test patients; returns what the model
        sees of each of them, in that order.
    folds, task, seed
        As in `baseline_scores`.
    n_inner_folds : int
        Folds inside training patients that give the scores for the threshold.

    Returns
    -------
    DataFrame
        As `baseline_scores`.
    """
    order = ["repeat", "fold", "patient_id"]
    rows = folds[[*order, "label"]].sort_values(order, ignore_index=True)
    parts = []
    for _, repeat_rows in rows.groupby("repeat"):
        for fold in sorted(repeat_rows["fold"].unique()):
            held_out = repeat_rows["fold"] == fold
            train, test = repeat_rows[~held_out], repeat_rows[held_out].copy()
            y = (train["label"] == task.positive).to_numpy(dtype=np.int64)
            key = (int(test["repeat"].iloc[0]), int(fold))
            inner_seed = int(np.random.SeedSequence([seed, *key]).generate_state(1)[0])
            inner = inner_folds(y, n_folds=n_inner_folds, seed=inner_seed)
            known, unseen = designs(key, train["patient_id"], test["patient_id"])
            score, threshold = _fit_fold(model, known, y, unseen, inner)
            test["score"] = score
            test["predicted"] = np.where(score >= threshold, task.positive, task.negative)
            parts.append(test.assign(n_slices=0))
    table: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return table[["repeat", "fold", "patient_id", "label", "score", "predicted", "n_slices"]]


def covariate_design(patients: pd.DataFrame, covariates: Sequence[str]) -> pd.DataFrame:
    """Return the covariates, each as float (numeric, missing NaN) or as text (missing empty).

    Parameters
    ----------
    patients : DataFrame
        Indexed by patient_id.
    covariates : sequence of str

    Raises
    ------
    ConfigurationError
        If a covariate is not in the table.
    EvaluationError
        If nobody has a covariate.
    """
    unknown = [name for name in covariates if name not in patients.columns]
    if unknown:
        raise ConfigurationError(
            "a covariate is not in the manifest",
            found=", ".join(unknown),
            expected=f"one of {', '.join(map(str, patients.columns))}",
        )
    columns: dict[str, Any] = {}
    for name in covariates:
        column = patients[name].astype(object)
        text = column.map(lambda value: "" if pd.isna(value) else str(value).strip())
        if (text == "").all():
            raise EvaluationError(
                f"covariate {name} is missing for every patient",
                remedy="Add it to the manifest, or take it out of evaluation.covariates",
            )
        numbers = pd.to_numeric(text.where(text != ""), errors="coerce")
        if (numbers.isna() == (text == "")).all() and np.isfinite(numbers.dropna()).all():
            columns[name] = numbers.astype(np.float64)
        else:
            columns[name] = text
    return pd.DataFrame(columns, index=patients.index)


def covariate_model(design: pd.DataFrame, regularisation_c: float) -> Any:
    """Return the pipeline of a baseline: `covariate_encoder`, then a logistic regression.

    Parameters
    ----------
    design : DataFrame
        Of `covariate_design`; only its column types are read.
    regularisation_c : float
        scikit-learn's C.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        covariate_encoder(design), LogisticRegression(C=regularisation_c, max_iter=1000)
    )


def covariate_encoder(design: pd.DataFrame) -> Any:
    """Return the transformer that imputes and scales numbers and spells out categories."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numeric = [name for name in design if pd.api.types.is_float_dtype(design[name])]
    categorical = [name for name in design if name not in numeric]
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    # The empty text is a category like any other: missing is its own level.
    categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [("numeric", numbers, numeric), ("categorical", categories, categorical)]
    )


def _fit_fold(
    model: Any, train: pd.DataFrame, y: IntArray, test: pd.DataFrame, inner: IntArray
) -> tuple[FloatArray, float]:
    """Return the scores of the test patients and the threshold from inner predictions."""
    from sklearn import config_context
    from sklearn.base import clone

    empty = train.columns[((train == "") | train.isna()).all()]
    if len(empty):
        raise EvaluationError(
            f"covariate {empty[0]} is missing for every training patient of a fold"
        )
    inner_scores = np.empty(len(y))
    # The checks cost more than the fits of so few patients; the design has been checked.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        for fold in np.unique(inner):
            held_out = inner == fold
            fitted = clone(model).fit(train[~held_out], y[~held_out])
            inner_scores[held_out] = fitted.predict_proba(train[held_out])[:, 1]
        fitted = clone(model).fit(train, y)
        score = fitted.predict_proba(test)[:, 1]
    return score, youden_threshold(y, inner_scores)
