"""What the image's score adds to covariates: a likelihood ratio test on held-out scores."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from mri_transfer.core.arrays import BoolArray, FloatArray
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.baselines import covariate_design, covariate_encoder
from mri_transfer.evaluation.results import LikelihoodRatioTest
from mri_transfer.metrics.intervals import Estimate, normal_quantile, undefined
from mri_transfer.metrics.scored import check_labels

__all__ = ["covariate_matrix", "likelihood_ratio_test"]


_METHOD = "likelihood ratio of logistic models with and without the image's logit"
_NOTE = (
    "p and p_one_sided are too small for scores of cross-validation, whose heads have seen the "
    "other patients' labels; p_one_sided_corrected, which halves the statistic, keeps its level. "
    "How much the image adds is said by joined_minus_covariates and its interval"
)
#: By how much cross-validation widens the statistic where the image holds nothing.
_INFLATION = 2.0
#: A log-odds of this size (or so uncertain) for one standard deviation of the score is no finite
#: coefficient, but that of a score that separates the labels.
_RUNAWAY = 10.0
#: A mean log-likelihood this close to 0 is that of a perfect fit.
_PERFECT = 1e-4


def covariate_matrix(patients: pd.DataFrame, covariates: Sequence[str]) -> FloatArray:
    """Return covariates as numbers: medians for missing ones, one column a category.

    For `likelihood_ratio_test`, which describes a whole cohort; no label enters. A model that is
    to be tested on other patients learns its medians inside folds (`joined_scores`).

    Parameters
    ----------
    patients : DataFrame
        Indexed by patient_id.
    covariates : sequence of str

    Returns
    -------
    ndarray of float64, shape (n, n_columns)

    Raises
    ------
    ConfigurationError
        If a covariate is not in the table.
    EvaluationError
        If nobody has a covariate.
    """
    design = covariate_design(patients, covariates)
    return np.asarray(covariate_encoder(design).fit_transform(design), dtype=np.float64)


def likelihood_ratio_test(
    labels: npt.ArrayLike,
    covariates: npt.ArrayLike,
    image_logit: npt.ArrayLike,
    *,
    confidence: float = 0.95,
) -> LikelihoodRatioTest:
    """Test whether the image's score tells anything beyond covariates.

    Two logistic models by maximum likelihood, without a penalty. Twice the difference of their
    log-likelihoods is compared with chi-squared.

    The scores must come from patients held out from the image's model. Scores of
    cross-validation have learnt from the other patients' labels all the same, and the statistic
    spreads wider than chi-squared (Höfling and Tibshirani 2008, Ann Appl Stat 2:643-664). How
    much wider can be told: where the image holds nothing, the patients' scores are sums of the
    others' residuals, ``sum_j b_ij e_j``, and what the test looks at, ``sum_ij e_i b_ij e_j``,
    has twice the variance that is taken for it, as patient i tells as much about j as j about i.
    The corrected p values therefore halve the statistic. Under that null, in eight settings with
    40 to 140 patients and 2 to 600 features of noise, `p` fell below 0.05 in 13 to 23 % of
    simulations and `p_one_sided`, which asks for a positive coefficient, in 5 to 12 %; corrected,
    in 4 to 12 % (12 with 2 features, by negative coefficients) and in 1 to 5 %.
    `p_one_sided_corrected` is the one to read. Exact is only what scores cannot give: heads
    trained again on other labels. Scores of a model that was fitted to another cohort need no
    correction. A small p with a negative coefficient says that the image does not help.

    Parameters
    ----------
    labels : array_like of {0, 1}, shape (n,)
    covariates : array_like of float, shape (n, k)
        Without missing values, see `covariate_matrix`. Constant and dependent columns add
        nothing and are dropped; k may be 0. Patients of a category that holds one label only
        tell nothing about the image, and do no harm.
    image_logit : array_like of float, shape (n,)
        Log-odds of the image's score, mean over repeats.
    confidence : float

    Returns
    -------
    LikelihoodRatioTest
        The coefficient has a Wald interval.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a number is not finite.
    """
    positive = check_labels(labels)
    image, table = _checked(covariates, image_logit, len(positive))
    if np.ptp(image) < 1e-12:
        return _no_test("the image scores everybody alike", len(positive))
    scale = float(image.std())
    base = _independent(table)
    column = (image - image.mean()) / scale
    full = np.column_stack([base, column])
    if np.linalg.matrix_rank(full) < full.shape[1]:
        return _no_test("the image's score is a sum of the covariates", len(positive))
    small, large = _log_fit(positive, base), _log_fit(positive, full)
    if isinstance(small, str) or isinstance(large, str):
        failed = small if isinstance(small, str) else large
        return _no_test(str(failed), len(positive))
    if max(abs(large[1]), large[2]) > _RUNAWAY:
        return _no_test("the image's score separates the labels", len(positive))
    chi2 = max(0.0, 2.0 * (large[0] - small[0]))
    return _tested(chi2, large[1] / scale, large[2] / scale, n=len(positive), confidence=confidence)


def _checked(
    covariates: npt.ArrayLike, image_logit: npt.ArrayLike, n: int
) -> tuple[FloatArray, FloatArray]:
    image = np.asarray(image_logit, dtype=np.float64)
    table = np.asarray(covariates, dtype=np.float64)
    if image.shape != (n,) or table.ndim != 2 or len(table) != n:
        raise EvaluationError(
            "covariates and the image's logit do not fit the labels",
            found=f"shapes {table.shape} and {image.shape}",
            expected=f"({n}, k) and ({n},)",
        )
    if not (np.isfinite(image).all() and np.isfinite(table).all()):
        raise EvaluationError(
            "a covariate or a logit is missing or not finite",
            remedy="Impute covariates with covariate_matrix, and move scores off 0 and 1",
        )
    return image, table


def _independent(table: FloatArray) -> FloatArray:
    """Return a constant and those standardised columns that do not depend on each other."""
    from scipy.linalg import qr

    centred = table - table.mean(axis=0)
    spread = centred.std(axis=0)
    varied = centred[:, spread > 1e-12] / spread[spread > 1e-12]
    if varied.shape[1]:
        _, upper, order = qr(varied, mode="economic", pivoting=True)
        sizes = np.abs(np.diag(upper))
        varied = varied[:, np.sort(order[: int((sizes > 1e-9 * sizes[0]).sum())])]
    return np.column_stack([np.ones(len(table)), varied])


def _log_fit(positive: BoolArray, design: FloatArray) -> tuple[float, float, float] | str:
    """Return log-likelihood, last coefficient and its standard error, or why there are none.

    A rare category whose patients share one label has no finite coefficient, but the likelihood
    has a limit all the same. Hence a method that stops where the likelihood no longer rises.
    """
    import statsmodels.api as sm

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model = sm.Logit(positive.astype(np.float64), design)
        fit = model.fit(method="bfgs", gtol=1e-8, maxiter=1000, disp=False, skip_hessian=True)
        information = -model.hessian(fit.params)
    if float(fit.llf) > -_PERFECT * len(positive):
        return "covariates and image separate the labels completely, so that no finite model fits"
    if np.abs(model.score(fit.params)).max() > 1e-4 * len(positive):
        return "the logistic model did not converge"
    error = math.sqrt(max(0.0, float(np.linalg.pinv(information, hermitian=True)[-1, -1])))
    return float(fit.llf), float(fit.params[-1]), error


def _tested(
    chi2: float, value: float, error: float, *, n: int, confidence: float
) -> LikelihoodRatioTest:
    from scipy.stats import chi2 as chi_squared
    from scipy.stats import norm

    half = normal_quantile(confidence) * error
    coefficient = Estimate(
        value=value, ci_low=value - half, ci_high=value + half, n=n, method="logistic model, Wald"
    )
    return LikelihoodRatioTest(
        n=n,
        chi2=chi2,
        df=1,
        p=float(chi_squared.sf(chi2, 1)),
        p_one_sided=float(norm.sf(math.copysign(math.sqrt(chi2), value))),
        p_corrected=float(chi_squared.sf(chi2 / _INFLATION, 1)),
        p_one_sided_corrected=float(norm.sf(math.copysign(math.sqrt(chi2 / _INFLATION), value))),
        coefficient=coefficient,
        method=_METHOD,
        note=_NOTE,
    )


def _no_test(reason: str, n: int) -> LikelihoodRatioTest:
    return LikelihoodRatioTest(
        n=n,
        chi2=None,
        df=1,
        p=None,
        p_one_sided=None,
        p_corrected=None,
        p_one_sided_corrected=None,
        coefficient=undefined(reason, n=n, method="logistic model, Wald"),
        method=_METHOD,
        note=_NOTE,
        reason=reason,
    )
