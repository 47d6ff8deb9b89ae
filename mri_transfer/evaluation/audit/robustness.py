"""Robustness: what the scores of held-out patients become when their scans are worse.

Every patient is scored by the heads that held the patient out, once from the scan as it is and
once from the perturbed scan. Heads, recalibration and thresholds stay what training made them:
nothing is fitted here. Lost slices need no new features; they are left out of the joining.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray
from mri_transfer.evaluation.audit.document import RobustnessRow
from mri_transfer.evaluation.audit.held_out import HeldOut, HeldOutScores
from mri_transfer.metrics.discrimination import bootstrap_auc
from mri_transfer.metrics.intervals import Estimate, bootstrap_mean, exact_proportion, undefined
from mri_transfer.metrics.named_rng import named_rng
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.paired import bootstrap_difference
from mri_transfer.metrics.scored import ScoredPatients
from mri_transfer.models.features import FeatureTable
from mri_transfer.scans.perturbations import Perturbation
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds

__all__ = ["robustness_rows", "sample_patients"]

Tables = Mapping[str, FeatureTable]

#: Slices lost here and there or side by side, their shares, and how often the loss is drawn.
_LOST_KINDS = ("lost slices", "lost block of slices")
_LOST_SHARES = (0.125, 0.25, 0.5)
_LOST_DRAWS = 10

_NAMES = (
    "auc",
    "auc_clean",
    "auc_change",
    "balanced_accuracy",
    "balanced_accuracy_clean",
    "score_change",
    "score_shift",
    "flip_rate",
)


def sample_patients(folds: Folds, *, n: int, seed: int) -> tuple[str, ...]:
    """Draw patients, each label in its share of the cohort.

    Parameters
    ----------
    folds : Folds
    n : int
        How many; all of them if there are no more. A larger sample holds every smaller one.
    seed : int

    Returns
    -------
    tuple of str
        Sorted.
    """
    rng = _named_rng(seed, "sample")
    labels = np.array(folds.labels, dtype=object)
    rank = np.empty(len(labels))
    for label in sorted(set(folds.labels)):
        members = rng.permutation(np.flatnonzero(labels == label))
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    chosen = np.argsort(rank, kind="stable")[:n]
    return tuple(folds.patient_ids[i] for i in sorted(chosen))


def robustness_rows(
    trained: Sequence[FittedModel],
    clean: Tables,
    perturbed: Mapping[Perturbation, Tables],
    folds: Folds,
    *,
    positive_label: str,
    n_samples: int,
    seed: int,
    confidence: float = 0.95,
) -> tuple[RobustnessRow, ...]:
    """Compare held-out scores of perturbed scans with those of the same scans as they are.

    Parameters
    ----------
    trained : sequence of FittedModel
        The heads of every outer fold.
    clean : mapping of str to FeatureTable
        By what models read (`FittedModel.reads`): the scans of every patient.
    perturbed : mapping of Perturbation to mapping of str to FeatureTable
        The same for some patients. A patient counts if all scans of that patient are there.
    folds : Folds
    positive_label : str
    n_samples : int
        Resamples of patients behind each bootstrap interval.
    seed : int
    confidence : float

    Returns
    -------
    tuple of RobustnessRow
        One per perturbation and level, then those of lost slices.
    """
    held_out = HeldOut(trained, clean, folds, positive_label)
    return tuple(
        RobustnessRow(
            kind=case.kind,
            level=case.level,
            unit=case.unit,
            name=case.name,
            n=len(case.patients),
            note=case.note or None,
            **_figures(
                held_out.positive[case.patients],
                case.before,
                case.after,
                n_samples=n_samples,
                rng=functools.partial(_named_rng, seed, case.name),
                confidence=confidence,
            ),
        )
        for case in [*_perturbed(held_out, perturbed), *_lost_slices(held_out, seed)]
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Case:
    """One perturbation at one level: scores of the same patients before and after."""

    kind: str
    level: float
    unit: str
    patients: IntArray
    before: HeldOutScores
    after: HeldOutScores
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.level:g} {self.unit}"


def _perturbed(held_out: HeldOut, perturbed: Mapping[Perturbation, Tables]) -> Iterator[_Case]:
    """Score what came from perturbed volumes."""
    complete = {key: held_out.complete(tables) for key, tables in perturbed.items()}
    most = max((len(patients) for patients in complete.values()), default=0)
    for perturbation, tables in perturbed.items():
        patients = complete[perturbation]
        missing = most - len(patients)
        yield _Case(
            kind=perturbation.kind,
            level=perturbation.level,
            unit=perturbation.unit,
            patients=patients,
            before=held_out.clean.of(patients),
            after=held_out.scores(held_out.parts(tables, patients), patients),
            note=f"{missing} patients left out: too few slices at this level" if missing else "",
        )


def _lost_slices(held_out: HeldOut, seed: int) -> Iterator[_Case]:
    """Score every patient without some slices, from the features that are there."""
    n_slices, everybody = held_out.n_slices, np.arange(len(held_out.positive))
    for kind in _LOST_KINDS:
        for share in _LOST_SHARES:
            n_lost = round(share * n_slices)
            loss = {"kind": kind, "level": n_lost, "unit": f"of {n_slices} slices"}
            if not 0 < n_lost < n_slices:
                nobody = held_out.clean.of(everybody[:0])
                note = f"a share of {share:g} of {n_slices} slices is none"
                yield _Case(**loss, patients=everybody[:0], before=nobody, after=nobody, note=note)
                continue
            rngs = [_named_rng(seed, f"{kind} {n_lost} {draw}") for draw in range(_LOST_DRAWS)]
            draws = [
                held_out.scores(
                    held_out.clean_parts,
                    everybody,
                    kept=_kept(kind, held_out.n_scans, n_slices, n_lost, rng),
                )
                for rng in rngs
            ]
            yield _Case(
                **loss,
                patients=everybody,
                before=HeldOutScores.stacked([held_out.clean] * _LOST_DRAWS),
                after=HeldOutScores.stacked(draws),
                note=f"every patient of the cohort; mean of {_LOST_DRAWS} draws",
            )


def _kept(
    kind: str, n_scans: int, n_slices: int, n_lost: int, rng: np.random.Generator
) -> IntArray:
    """Draw the slices that are left of every scan, rising, shape (n_scans, n_slices - n_lost)."""
    if kind == _LOST_KINDS[0]:
        order = rng.permuted(np.tile(np.arange(n_slices), (n_scans, 1)), axis=1)
        return np.sort(order[:, n_lost:], axis=1)
    first = rng.integers(0, n_slices - n_lost + 1, size=(n_scans, 1))
    left = np.arange(n_slices - n_lost)
    return left + n_lost * (left >= first)


def _figures(
    positive: BoolArray,
    before: HeldOutScores,
    after: HeldOutScores,
    *,
    n_samples: int,
    rng: Callable[[str], np.random.Generator],
    confidence: float,
) -> dict[str, Estimate]:
    n = len(positive)
    if n == 0:
        return dict.fromkeys(_NAMES, undefined("no patient to score", n=0))

    def options(figure: str) -> dict[str, Any]:
        return {"n_samples": n_samples, "rng": rng(figure), "confidence": confidence}

    def mean(figure: str, values: FloatArray) -> Estimate:
        return bootstrap_mean(values.mean(axis=0), positive, **options(figure))

    change = after.score - before.score
    flips = float((after.called != before.called).mean(axis=0).sum())
    if positive.any() and not positive.all():
        # One stream of draws for all three: they are resampled alike.
        perturbed = ScoredPatients.of(positive, after.score)
        areas = (
            bootstrap_auc(perturbed, **options("auc")),
            bootstrap_auc(perturbed.rescored(before.score), **options("auc")),
            bootstrap_difference(perturbed, before.score, **options("auc")),
        )
    else:
        areas = (undefined("the sample holds patients of one label", n=n),) * 3
    rest = (
        _balanced(positive, after, confidence),
        _balanced(positive, before, confidence),
        mean("score_change", np.abs(change)),
        mean("score_shift", change),
        exact_proportion(flips, n, confidence=confidence, averaged=len(change) > 1),
    )
    return dict(zip(_NAMES, (*areas, *rest), strict=True))


def _balanced(positive: BoolArray, scores: HeldOutScores, confidence: float) -> Estimate:
    return rates(confusion(positive, scores.called), confidence=confidence)["balanced_accuracy"]


def _named_rng(seed: int, *names: str) -> np.random.Generator:
    return named_rng(seed, " ".join(["robustness", *names]))
