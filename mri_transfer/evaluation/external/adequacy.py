"""Whether a cohort is large enough to test a model on, and what can be told where it is not.

The targets are those of Riley et al. (2021, Stat Med 40:4230-4251) and Archer et al. (2021, Stat
Med 40:133-146) as the R package pmvalsampsize has them by default: an interval of 0.2 in all for
the ratio of observed to expected patients, of 0.2 for the calibration slope, of 0.1 for the AUC.
Beside them stands the older rule of 100 patients or more of each label (Collins, Ogundimu and
Altman 2016, Stat Med 35:214-226).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import FloatArray
from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.caveats import ENOUGH_PER_LABEL
from mri_transfer.evaluation.external.document import CohortSampleSize, OneLabel
from mri_transfer.evaluation.external.results import Criterion
from mri_transfer.metrics.calibration import score_logits
from mri_transfer.metrics.intervals import (
    Estimate,
    bootstrap_mean,
    exact_proportion,
    normal_quantile,
    undefined,
)
from mri_transfer.metrics.precision import expected_width, patients_for_slope, patients_for_width
from mri_transfer.metrics.scored import ScoredPatients, metric

__all__ = ["observed_to_expected", "one_label_figures", "sample_adequacy"]

#: Half-widths aimed at.
_TARGETS = {"auc": 0.05, "calibration_slope": 0.1, "observed_to_expected": 0.1}

_SIZES = "Riley et al. 2021"

#: Figures that one label alone leaves undefined, beside the AUC and the other label's rate.
_NEED_BOTH_LABELS = (
    "balanced_accuracy",
    "ppv",
    "npv",
    "calibration_intercept",
    "calibration_slope",
)


@metric
def observed_to_expected(patients: ScoredPatients, *, confidence: float = 0.95) -> Estimate:
    """Return how many positive patients there are for each that the scores expect; 1 is right.

    Interval on the logarithm, where the standard error is the root of (1 - share) / observed.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels of shape (n,) and probabilities of shape (n,) or (n_repeats, n).
    confidence : float
    """
    n, observed = patients.n, patients.n_positive
    expected = float(patients.probabilities.mean(axis=0).sum())
    method = "normal on the logarithm of the ratio"
    if expected == 0.0:
        return undefined("no score is above 0", n=n, method=method)
    value = observed / expected
    half = normal_quantile(confidence) * math.sqrt((1.0 - observed / n) / observed)
    return Estimate(
        value=value,
        ci_low=value * math.exp(-half),
        ci_high=value * math.exp(half),
        n=n,
        method=method,
    )


@metric
def sample_adequacy(
    patients: ScoredPatients, *, expected_auc: float, confidence: float = 0.95
) -> CohortSampleSize:
    """Hold the size of a cohort against the sizes that guidance asks for.

    Everything is expected, not observed: it follows from the numbers of patients, the spread of
    the scores and the AUC that was promised, as it would in a plan made before.

    Parameters
    ----------
    patients : ScoredPatients
        Or labels and probabilities of shape (n,).
    expected_auc : float
        Of internal testing.
    confidence : float

    Returns
    -------
    CohortSampleSize
        The criterion `patients_per_label` has target and found in place of half-widths.
    """
    n, n_positive = patients.n, patients.n_positive
    share = n_positive / n
    quantile = normal_quantile(confidence)
    area = min(max(expected_auc, 0.05), 0.95)
    criteria = [
        _criterion(
            "auc",
            expected_width(area, n_positive, patients.n_negative, confidence=confidence) / 2.0,
            patients_for_width(area, _TARGETS["auc"], share_positive=share, confidence=confidence),
        ),
        _slope(score_logits(patients.probabilities), n, confidence),
        # Half the interval of a ratio of 1 on its logarithm is sinh(quantile * error).
        _criterion(
            "observed_to_expected",
            math.sinh(quantile * math.sqrt((1.0 - share) / n_positive)),
            math.ceil(
                (1.0 - share)
                / (share * (math.asinh(_TARGETS["observed_to_expected"]) / quantile) ** 2)
            ),
        ),
        Criterion(
            figure="patients_per_label",
            target=ENOUGH_PER_LABEL,
            found=patients.fewest,
            n_needed=math.ceil(ENOUGH_PER_LABEL / min(share, 1.0 - share)),
            enough=patients.fewest >= ENOUGH_PER_LABEL,
            source="Collins et al. 2016",
        ),
    ]
    return CohortSampleSize(
        n=n,
        n_positive=n_positive,
        n_negative=patients.n_negative,
        criteria=tuple(criteria),
        all_enough=all(criterion.enough for criterion in criteria),
    )


def one_label_figures(
    label_is_positive: bool,
    scores: npt.ArrayLike,
    threshold: float,
    *,
    n_samples: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> OneLabel:
    """Return what patients of one label alone can tell about a model.

    Parameters
    ----------
    label_is_positive : bool
        Which label all patients have.
    scores : array_like of float in [0, 1], shape (n,)
    threshold : float
        Score from which the positive label is called.
    n_samples : int
        Resamples of patients.
    rng : numpy.random.Generator
    confidence : float

    Returns
    -------
    OneLabel
        With sensitivity or specificity, whichever the label allows.
    """
    values = np.asarray(scores, dtype=np.float64)
    right = int(((values >= threshold) == label_is_positive).sum())
    name, unknown = "sensitivity", "specificity"
    if not label_is_positive:
        name, unknown = unknown, name
    mean = bootstrap_mean(values, n_samples=n_samples, rng=rng, confidence=confidence)
    return OneLabel(
        n=len(values),
        label_is_positive=label_is_positive,
        **{name: exact_proportion(right, len(values), confidence=confidence)},
        mean_score=mean,
        expected_positive=float(values.sum()),
        not_defined=("auc", unknown, *_NEED_BOTH_LABELS),
    )


def _criterion(
    figure: str, half: float | None, needed: int | None, reason: str | None = None
) -> Criterion:
    target = _TARGETS[figure]
    return Criterion(
        figure=figure,
        target_half_width=target,
        expected_half_width=half,
        n_needed=needed,
        enough=half is not None and half <= target,
        source=_SIZES,
        reason=reason,
    )


def _slope(logits: FloatArray, n: int, confidence: float) -> Criterion:
    target = _TARGETS["calibration_slope"]
    try:
        needed = patients_for_slope(logits, target, confidence=confidence)
    except EvaluationError as error:
        return _criterion("calibration_slope", None, None, reason=str(error))
    # The half-width falls with the root of the number of patients.
    return _criterion("calibration_slope", target * math.sqrt(needed / n), needed)
