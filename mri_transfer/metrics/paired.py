"""Two models on the same patients: which of them is better, by how much, and how surely.

The AUC difference by DeLong's method is in `delong`; here are its patient bootstrap, McNemar's
test of the calls, and the corrected t-test of figures that were measured fold by fold.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import BoolArray
from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.discrimination import bootstrap_pairs, patient_kernel
from mri_transfer.metrics.estimates import FoldDifference, untested_fold_difference
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.results import Discordance, DiscordantRepeat, McNemar
from mri_transfer.metrics.scored import ScoredPatients, metric

__all__ = ["bootstrap_difference", "corrected_standard_error", "corrected_t", "mcnemar"]


_ONE_CALL = (
    "one call a patient: the majority over repeats, the first repeat where they tie; "
    "p from the binomial distribution of discordant patients"
)


@metric
def bootstrap_difference(
    patients: ScoredPatients,
    other_scores: npt.ArrayLike,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> Estimate:
    """AUC of the patients' scores minus that of others, with a paired, stratified bootstrap.

    A resample draws patients, and with each of them the scores of both models in all repeats.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and scores of shape (n,) or (n_repeats, n).
    other_scores : array_like of float, shape (n,) or (n_repeats, n)
        The same patients in the same order. With repeats the mean AUCs are compared; the two
        models may have been repeated unequally often.
    n_samples : int
    rng : numpy.random.Generator
    confidence : float

    Returns
    -------
    Estimate
        Between -1 and 1. Without an interval, with a reason, if every resample gives the same.

    Raises
    ------
    EvaluationError
        If only one label occurs, shapes differ or a score is not finite.
    """
    return bootstrap_pairs(
        patients.positive,
        patient_kernel(patients) - patient_kernel(patients.rescored(other_scores)),
        n_samples=n_samples,
        rng=rng,
        confidence=confidence,
    )


@metric
def mcnemar(called: ScoredPatients, other_called: npt.ArrayLike) -> McNemar:
    """Compare the calls of two models on the same patients (McNemar 1947).

    A discordant patient is classified correctly by one model and wrongly by the other. The repeats
    of a cross-validation are the same patients again, so that adding up their discordant patients
    would invent evidence. The test therefore takes one call a patient and model: the majority
    over repeats, and the first repeat where repeats tie. The rule looks at no label. Counts per
    repeat are listed beside it.

    Parameters
    ----------
    called : ScoredPatients
        With calls, 0 or 1, for scores; or labels of shape (n,) and calls of shape (n,) or
        (n_repeats, n).
    other_called : array_like of {0, 1}, shape (n,) or (n_repeats, n)

    Returns
    -------
    McNemar
        The mid-p test keeps its level and
        loses less power than the exact one (Fagerland, Lydersen and Laake 2013, BMC Med Res
        Methodol 13:91). Models that agree on everybody have a p of 1.

    Raises
    ------
    EvaluationError
        If only one label occurs, or shapes or numbers of repeats differ.
    """
    positive, first = called.positive, called.scores.astype(bool)
    second = called.rescored(other_called).scores.astype(bool)
    if len(first) != len(second):
        raise EvaluationError(
            "the two models were not repeated equally often",
            found=f"{len(first)} and {len(second)} repeats",
            remedy="Compare calls that were made on the same folds",
        )
    first_right, second_right = (_one_call(calls) == positive for calls in (first, second))
    groups = {
        "accuracy": np.ones(len(positive), dtype=bool),
        "sensitivity": positive,
        "specificity": ~positive,
    }
    rows = [
        DiscordantRepeat(
            repeat=repeat,
            first_only=int(((a == positive) & (b != positive)).sum()),
            second_only=int(((a != positive) & (b == positive)).sum()),
        )
        for repeat, (a, b) in enumerate(zip(first, second, strict=True))
    ]
    return McNemar(
        **{
            name: _discordance(first_right[inside], second_right[inside])
            for name, inside in groups.items()
        },
        per_repeat=tuple(rows),
        method=f"McNemar, {_ONE_CALL}",
    )


def _one_call(called: BoolArray) -> BoolArray:
    share = called.mean(axis=0)
    return np.asarray(np.where(share == 0.5, called[0], share > 0.5), dtype=bool)


def _discordance(first: BoolArray, second: BoolArray) -> Discordance:
    from scipy.stats import binom
    from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar

    first_only, second_only = int((first & ~second).sum()), int((~first & second).sum())
    discordant, smaller = first_only + second_only, min(first_only, second_only)
    exact = float(exact_mcnemar([[0, first_only], [second_only, 0]], exact=True).pvalue)
    # Half of the probability of what was observed counts, in each of the two tails.
    tail = binom.cdf(smaller, discordant, 0.5) - 0.5 * binom.pmf(smaller, discordant, 0.5)
    return Discordance(
        n=len(first),
        first_only=first_only,
        second_only=second_only,
        p_exact=exact if discordant else 1.0,
        p_mid=min(1.0, float(2.0 * tail)),
    )


def corrected_standard_error(differences: npt.ArrayLike, *, n_train: float, n_test: float) -> float:
    """Return the standard error of a mean difference over folds that share training patients.

    The variance over folds is divided not by their number J but multiplied by
    ``1 / J + n_test / n_train`` (Nadeau and Bengio 2003).

    Parameters
    ----------
    differences : array_like of float, shape (J,)
        One a fold, two or more.
    n_train, n_test : float
        Patients a fold trains on and tests on.
    """
    values = np.asarray(differences, dtype=np.float64)
    return float(values.std(ddof=1) * math.sqrt(1.0 / len(values) + n_test / n_train))


def corrected_t(
    differences: npt.ArrayLike, *, n_train: float, n_test: float, confidence: float = 0.95
) -> FoldDifference:
    """Corrected resampled t-test of figures measured fold by fold.

    The J folds of repeated cross-validation share training patients, so that the variance of
    their mean is more than a Jth of their variance. Nadeau and Bengio (2003, Mach Learn
    52:239-281) put 1/J + n_test/n_train in place of 1/J; Bouckaert and Frank (2004, PAKDD)
    advise it for repeated cross-validation. Unlike the intervals that resample test patients it
    also holds the variation between training sets, and it asks about the way of training.

    Parameters
    ----------
    differences : array_like of float, shape (J,) or (n_repeats, n_folds)
        One model's figure minus the other's, by fold. The figure of a single model works too;
        `t` and `p` then ask whether its mean is 0, and only value and interval are of use.
    n_train, n_test : float
        Patients in the training and test set of a fold; means where folds differ.
    confidence : float

    Returns
    -------
    FoldDifference
        `n` counts the folds.

    Raises
    ------
    EvaluationError
        If a figure is not finite, or a fold has no patients.
    """
    from scipy import stats

    values = np.asarray(differences, dtype=np.float64).ravel()
    if not (len(values) and np.isfinite(values).all()):
        raise EvaluationError(
            "the figures of the folds must be finite numbers",
            found=f"{len(values)} figures, {int((~np.isfinite(values)).sum())} not finite",
            remedy="Leave out the folds without a figure, and say how many they were",
        )
    if not (n_train > 0 and n_test > 0):
        raise EvaluationError("a fold without patients", found=f"{n_train} train, {n_test} test")
    folds, mean, spread = len(values), float(values.mean()), 0.0
    method = "corrected resampled t (Nadeau and Bengio)"
    if folds > 1:
        spread = float(values.std(ddof=1))
    # Figures that are equal up to rounding hold no variance to estimate from.
    if folds < 2 or spread < 1e-12:
        reason = "one fold has no variance" if folds < 2 else "every fold gives the same figure"
        return untested_fold_difference(reason, n=folds, value=mean, df=folds - 1, method=method)
    error = corrected_standard_error(values, n_train=n_train, n_test=n_test)
    half = float(stats.t.ppf(0.5 + confidence / 2.0, folds - 1)) * error
    return FoldDifference(
        value=mean,
        ci_low=mean - half,
        ci_high=mean + half,
        n=folds,
        method=method,
        t=mean / error,
        df=folds - 1,
        p=float(2.0 * stats.t.sf(abs(mean) / error, folds - 1)),
    )
