"""Figures of a prediction among three or more classes: one class against the rest, and means.

A patient has one probability a class, and they add up to 1; the class predicted is the one with
the highest (the first of them where they tie). Repeats are averaged and patients resampled, as
everywhere in the evaluation; resampling keeps the number of patients of each class.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.errors import EvaluationError
from mri_transfer.metrics.calibration import CLIP
from mri_transfer.metrics.delong import delong_auc
from mri_transfer.metrics.discrimination import pair_kernel, patient_weights, resampled_auc
from mri_transfer.metrics.intervals import (
    Estimate,
    bootstrap_mean,
    exact_proportion,
    mean_of_independent,
    patient_bootstrap,
    undefined,
)
from mri_transfer.metrics.results import ClassFigures, MacroFigures, OneVsRest

__all__ = ["multiclass_metrics"]

Rng = Callable[[str], np.random.Generator]

#: Probabilities that went through a file may miss 1 by this much.
_ROUNDING = 1e-6

_BOOTSTRAP = "stratified patient bootstrap, percentile"


@dataclasses.dataclass(frozen=True)
class _Data:
    """Checked input: the class of each patient by number, and what each repeat says."""

    truth: IntArray
    probabilities: FloatArray
    classes: tuple[str, ...]

    @property
    def n(self) -> int:
        return len(self.truth)

    @property
    def counts(self) -> IntArray:
        return np.bincount(self.truth, minlength=len(self.classes)).astype(np.int64)

    @property
    def small(self) -> str | None:
        """Say which class has too few patients for a mean over classes, if one has."""
        few = [
            f"{name} has {count}"
            for name, count in zip(self.classes, self.counts, strict=True)
            if count < 2
        ]
        return f"a class needs two patients or more; {', '.join(few)}" if few else None


def multiclass_metrics(
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    classes: Sequence[str],
    *,
    n_samples: int,
    rng: Rng,
    confidence: float = 0.95,
) -> ClassFigures:
    """Return every figure of a prediction among three or more classes.

    Parameters
    ----------
    labels : array_like of str, shape (n,)
        Each one of `classes`.
    probabilities : array_like of float, shape (n, k) or (n_repeats, n, k)
        Columns in the order of `classes`; each row adds up to 1.
    classes : sequence of str, length k
        Three or more.
    n_samples : int
        Resamples of the patient bootstrap.
    rng : callable
        Gives the generator of a figure by its name.
    confidence : float

    Returns
    -------
    ClassFigures
        One against the rest by DeLong, rates exact; the mean over pairs of classes is that of
        Hand and Till (2001, Mach Learn 45:171-186), the Brier score runs from 0 to 2 (Brier
        1950), and probabilities are kept a millionth from 0 and 1 in the log loss.
        What a class of fewer than two patients leaves undefined carries a reason.

    Raises
    ------
    EvaluationError
        If there are fewer than three classes, a label is none of them, shapes differ, or
        probabilities are out of range or do not add up to 1.
    """
    data = _checked(labels, probabilities, classes)
    counts = _confusion(data)
    one_vs_rest = {
        name: _one_class(data, counts, number, confidence) for number, name in enumerate(classes)
    }
    sensitivities = [entry.sensitivity for entry in one_vs_rest.values()]
    settings: dict[str, Any] = {"n_samples": n_samples, "rng": rng, "confidence": confidence}
    macro = {
        "auc": _mean_auc(data, _rest_pairs(data), name="macro auc", **settings),
        "auc_hand_till": _mean_auc(
            data, _class_pairs(data), name="macro auc_hand_till", **settings
        ),
        "accuracy": exact_proportion(
            float(np.trace(counts)),
            data.n,
            confidence=confidence,
            averaged=len(data.probabilities) > 1,
        ),
        "balanced_accuracy": mean_of_independent(
            sensitivities, n=data.n, method="square-and-add of exact intervals"
        ),
        **{
            name: bootstrap_mean(
                losses,
                data.truth,
                n_samples=n_samples,
                rng=rng(f"multiclass macro {name}"),
                confidence=confidence,
            )
            for name, losses in (("brier", _brier(data)), ("log_loss", _log_loss(data)))
        },
    }
    return ClassFigures(
        classes=data.classes,
        n_patients=dict(zip(data.classes, data.counts.tolist(), strict=True)),
        confusion=counts.tolist(),
        one_vs_rest=one_vs_rest,
        macro=MacroFigures(**macro),
    )


def _checked(labels: npt.ArrayLike, probabilities: npt.ArrayLike, classes: Sequence[str]) -> _Data:
    names = tuple(classes)
    if len(names) < 3 or len(set(names)) < len(names):
        raise EvaluationError(
            "three or more different classes are needed",
            found=", ".join(map(str, names)) or "none",
            remedy="For two classes use patient_metrics",
        )
    given = np.asarray(labels, dtype=object)
    values = np.asarray(probabilities, dtype=np.float64)
    values = values[None] if values.ndim == 2 else values
    if given.ndim != 1 or not len(given) or values.ndim != 3 or not len(values):
        raise EvaluationError("no labels or no probabilities", found=f"shape {values.shape}")
    if values.shape[1:] != (len(given), len(names)):
        raise EvaluationError(
            "probabilities do not fit labels and classes",
            found=f"shape {np.shape(probabilities)}",
            expected=f"({len(given)}, {len(names)}) or (n_repeats, {len(given)}, {len(names)})",
        )
    unknown = sorted({str(label) for label in given} - set(names))
    if unknown:
        raise EvaluationError(
            "a label is none of the classes",
            found=", ".join(unknown[:5]),
            expected=", ".join(names),
        )
    # Written so that a number that is not finite fails too.
    inside = (values >= 0.0).all() and (np.abs(values.sum(axis=2) - 1.0) <= _ROUNDING).all()
    if not inside:
        raise EvaluationError(
            "the probabilities of a patient must be 0 or more and add up to 1",
            found=f"from {values.min():g}, sums up to {values.sum(axis=2).max():g}",
        )
    numbers = {name: number for number, name in enumerate(names)}
    truth = np.array([numbers[str(label)] for label in given], dtype=np.int64)
    return _Data(truth, values, names)


def _confusion(data: _Data) -> FloatArray:
    """Return patients by reference and predicted class, shape (k, k), mean over repeats."""
    k = len(data.classes)
    called = data.probabilities.argmax(axis=2)
    cells = np.bincount((data.truth * k + called).ravel(), minlength=k * k)
    return np.asarray(cells.reshape(k, k) / len(called), dtype=np.float64)


def _one_class(data: _Data, counts: FloatArray, number: int, confidence: float) -> OneVsRest:
    name, n_class = data.classes[number], float(counts[number].sum())
    right, called = float(counts[number, number]), float(counts[:, number].sum())
    wrongly = max(0.0, called - right)
    n_rest = data.n - n_class
    if min(n_class, n_rest) < 2:
        reason = f"{name} has {n_class:g} patients and the rest {n_rest:g}; two each are needed"
        area = undefined(reason, n=data.n, method="DeLong, logit")
    else:
        scores = data.probabilities[:, :, number]
        area = delong_auc(data.truth == number, scores, confidence=confidence).estimate

    def share(count: float, total: float, reason: str) -> Estimate:
        proportion = exact_proportion(
            min(count, total),
            total,
            confidence=confidence,
            averaged=len(data.probabilities) > 1,
        )
        return proportion if total else dataclasses.replace(proportion, reason=reason)

    nobody = f"no patient is {name}"
    return OneVsRest(
        auc=area,
        sensitivity=share(right, n_class, nobody),
        specificity=share(n_rest - wrongly, n_rest, f"every patient is {name}"),
        precision=share(right, called, f"no patient was called {name}"),
    )


#: Patients above and patients below, as masks, and the column that should tell them apart.
_Pair = tuple[BoolArray, BoolArray, int]


def _rest_pairs(data: _Data) -> list[_Pair]:
    members = [data.truth == number for number in range(len(data.classes))]
    return [(inside, ~inside, number) for number, inside in enumerate(members)]


def _class_pairs(data: _Data) -> list[_Pair]:
    numbers = range(len(data.classes))
    return [
        (data.truth == above, data.truth == below, above)
        for above, below in itertools.permutations(numbers, 2)
    ]


def _mean_auc(
    data: _Data,
    pairs: Sequence[_Pair],
    *,
    name: str,
    n_samples: int,
    rng: Rng,
    confidence: float,
) -> Estimate:
    if data.small is not None:
        return undefined(data.small, n=data.n, method=_BOOTSTRAP)
    kernels = [
        pair_kernel(data.probabilities[:, above, column], data.probabilities[:, below, column])
        for above, below, column in pairs
    ]

    def statistic(indices: IntArray) -> FloatArray:
        weights = patient_weights(indices, data.n)
        total = np.zeros(len(indices))
        for (above, below, _), kernel in zip(pairs, kernels, strict=True):
            total += resampled_auc(kernel, weights[:, above], weights[:, below])
        return total / len(pairs)

    return patient_bootstrap(
        statistic,
        data.truth,
        n_samples=n_samples,
        rng=rng(f"multiclass {name}"),
        confidence=confidence,
        batched=True,
    )


def _brier(data: _Data) -> FloatArray:
    """Return each patient's loss, shape (n,), mean over repeats."""
    target = np.eye(len(data.classes))[data.truth]
    losses = np.square(data.probabilities - target).sum(axis=2).mean(axis=0)
    return np.asarray(losses, dtype=np.float64)


def _log_loss(data: _Data) -> FloatArray:
    right = data.probabilities[:, np.arange(data.n), data.truth]
    return np.asarray(-np.log(np.clip(right, CLIP, 1.0 - CLIP)).mean(axis=0), dtype=np.float64)
