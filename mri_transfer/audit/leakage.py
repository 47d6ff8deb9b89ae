"""The leakage stress test: the same head under an honest and under a leaky split.

Splitting by slice puts slices of one patient on both sides. The head then recognises the patient
and recalls the label, whether or not the label has anything to do with the image (Yagis et al.
2021). Four arms make that visible: split by patient or by slice, true or permuted labels. Only
the arm "by patient, true labels" says how good the model is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.crossvalidation import AnyHeadSpec, derive_seed
from mri_transfer.features import FeatureTable
from mri_transfer.folds import Folds, FoldSpec, make_folds
from mri_transfer.heads import Fit, Head, SliceOutput, apply_head, fit_heads
from mri_transfer.predictions import Aggregation, join_slices

__all__ = ["ARMS", "StressTest", "pair_kernel", "slice_split", "stress_test"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: The four arms: how the slices are split, and whether labels are permuted between patients.
ARMS = (
    "patient_split_true_labels",
    "patient_split_permuted_labels",
    "slice_split_true_labels",
    "slice_split_permuted_labels",
)
_METRICS = ("slice_accuracy", "slice_auc", "patient_auc", "patient_balanced_accuracy")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StressTest:
    """Figures of the four arms and what they amount to."""

    head: str
    n_folds: int
    n_permutations: int
    arms: dict[str, dict[str, dict[str, Any]]]
    inflation_points: dict[str, float]
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of `audit.json`."""
        content = dataclasses.asdict(self)
        content["inflation_points"] = self.inflation_points["value"]
        content["inflation"] = self.inflation_points
        return content


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outcome:
    """Held-out figures of one cross-validation, patient by patient."""

    labels: IntArray
    slice_accuracy: FloatArray
    patient_right: FloatArray
    slice_kernel: FloatArray
    patient_kernel: FloatArray


def stress_test(
    head_spec: AnyHeadSpec,
    table: FeatureTable,
    folds: Folds,
    *,
    fold_spec: FoldSpec,
    aggregation: Aggregation,
    positive_label: str,
    n_permutations: int,
    bootstrap_samples: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> StressTest:
    """Run the four arms.

    Parameters
    ----------
    head_spec : HeadSpec
        With one candidate: a leaky split offers no honest place to choose.
    table : FeatureTable
    folds : Folds
        Patients and their labels; the first repeat is the honest split.
    fold_spec : FoldSpec
        `n_folds` is used for every arm.
    aggregation : Aggregation
        How slices join into patients.
    positive_label : str
    n_permutations, bootstrap_samples, seed : int
    progress : callable, optional
        Called with cross-validations done and in all.

    Returns
    -------
    StressTest
    """
    if len(head_spec.candidates) != 1:
        raise ValueError("narrow the spec to one candidate first: head_spec.only(i)")
    truth = np.array([int(label == positive_label) for label in folds.labels])
    runner = _Runner(head_spec, table, folds, fold_spec, aggregation, seed)
    total, done = 2 + 2 * n_permutations, 0
    outcomes: dict[str, list[_Outcome]] = {arm: [] for arm in ARMS}
    for arm in ARMS:
        permuted = arm.endswith("permuted_labels")
        for replicate in range(n_permutations if permuted else 1):
            labels = truth
            if permuted:
                rng = np.random.default_rng(derive_seed(seed, 7, replicate))
                labels = rng.permutation(truth)
            outcomes[arm].append(
                runner.run(
                    labels, by_slice=arm.startswith("slice"), permuted=permuted, replicate=replicate
                )
            )
            done += 1
            if progress is not None:
                progress(done, total)
    rng = np.random.default_rng(derive_seed(seed, 8))
    n = len(truth)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=bootstrap_samples).astype(np.float64)
    arms = {arm: _figures(outcomes[arm], draws) for arm in ARMS}
    inflation = _inflation(outcomes, draws)
    return StressTest(
        head=head_spec.kind,
        n_folds=fold_spec.n_folds,
        n_permutations=n_permutations,
        arms=arms,
        inflation_points=inflation,
        sentence=_sentence(arms, inflation),
    )


def slice_split(n_scans: int, n_slices: int, *, n_folds: int, seed: int) -> IntArray:
    """Deal shuffled slices into folds, whoever they belong to: the leaky split.

    Returns
    -------
    ndarray of int64, shape (n_scans, n_slices)
        The fold that holds each slice out.
    """
    order = np.random.default_rng(seed).permutation(n_scans * n_slices)
    fold = np.empty(n_scans * n_slices, dtype=np.int64)
    fold[order] = np.arange(len(order)) % n_folds
    return fold.reshape(n_scans, n_slices)


def pair_kernel(positive: FloatArray, negative: FloatArray) -> FloatArray:
    """Return, per pair of patients, the share of slice pairs that are ranked rightly.

    Its mean over pairs is the AUC; ties count one half.

    Parameters
    ----------
    positive : ndarray, shape (n_positive, n_slices)
    negative : ndarray, shape (n_negative, n_slices)

    Returns
    -------
    ndarray, shape (n_positive, n_negative)
    """
    kernel = np.empty((len(positive), len(negative)))
    for j, row in enumerate(negative):
        ordered = np.sort(row)
        below = np.searchsorted(ordered, positive, side="left")
        up_to = np.searchsorted(ordered, positive, side="right")
        kernel[:, j] = (below + up_to).mean(axis=1) / (2 * len(ordered))
    return kernel


class _Runner:
    """Runs one cross-validation of the stress test after another."""

    def __init__(
        self,
        head_spec: AnyHeadSpec,
        table: FeatureTable,
        folds: Folds,
        fold_spec: FoldSpec,
        aggregation: Aggregation,
        seed: int,
    ) -> None:
        self.head_spec = head_spec
        self.table = table
        self.folds = folds
        self.fold_spec = dataclasses.replace(fold_spec, n_repeats=1)
        self.aggregation = aggregation
        self.seed = seed
        position = {name: i for i, name in enumerate(folds.patient_ids)}
        self.owner = np.array([position[name] for name in table.patient_ids])

    def run(self, labels: IntArray, *, by_slice: bool, permuted: bool, replicate: int) -> _Outcome:
        """Cross-validate once; every slice is scored by the head that held it out."""
        n_scans, n_slices, _ = self.table.features.shape
        if by_slice:
            place = derive_seed(self.seed, 9, replicate)
            held = slice_split(n_scans, n_slices, n_folds=self.fold_spec.n_folds, seed=place)
        else:
            held = np.repeat(self._patient_folds(labels, permuted)[self.owner, None], n_slices, 1)
        fits = [
            Fit(train=held != fold, seed=derive_seed(self.seed, 10, replicate, int(fold)))
            for fold in np.unique(held)
        ]
        logits = np.empty((n_scans, n_slices), dtype=np.float32)
        weights = np.empty_like(logits)
        scan_labels = labels[self.owner]
        for i, _, head in fit_heads(self.head_spec, self.table, scan_labels, fits):
            for scans, scores, importance in _apply_in_parts(head, self.table.features):
                test = ~fits[i].train[scans]
                logits[scans][test] = scores[test]
                weights[scans][test] = importance[test]
        # Slices of one scan come from several heads under the slice split; weights add up to 1.
        weights /= weights.sum(axis=1, keepdims=True)
        return self._outcome(SliceOutput(logits=logits, weights=weights), labels)

    def _patient_folds(self, labels: IntArray, permuted: bool) -> IntArray:
        if not permuted:
            return np.asarray(self.folds.assignment[0])
        # Stratified anew: folds balanced for other labels would push permuted AUCs below one half.
        drawn = make_folds(
            list(self.folds.patient_ids),
            [str(label) for label in labels],
            spec=self.fold_spec,
            seed=self.seed,
        )
        return np.asarray(drawn.assignment[0])

    def _outcome(self, output: SliceOutput, labels: IntArray) -> _Outcome:
        names = self.folds.patient_ids
        joined = join_slices(output, [names[i] for i in self.owner], self.aggregation)
        score = np.array([joined[name] for name in names])
        right = (output.logits > 0) == (labels[self.owner][:, None] == 1)
        accuracy = np.array([right[self.owner == i].mean() for i in range(len(names))])
        # Scans of a patient are averaged slice by slice, so that every patient has one row.
        rows = np.stack(
            [output.logits[self.owner == i].mean(axis=0) for i in range(len(names))]
        ).astype(np.float64)
        positive, negative = labels == 1, labels == 0
        return _Outcome(
            labels=labels,
            slice_accuracy=accuracy,
            patient_right=((score > 0.5) == positive).astype(np.float64),
            slice_kernel=pair_kernel(rows[positive], rows[negative]),
            patient_kernel=pair_kernel(score[positive, None], score[negative, None]),
        )


def _apply_in_parts(
    head: Head, features: npt.NDArray[np.float32], size: int = 64
) -> Iterator[tuple[slice, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Score a few scans at a time; the wide layer of the published head is large."""
    for start in range(0, len(features), size):
        part = slice(start, start + size)
        output = apply_head(head, features[part])
        yield part, output.logits, output.weights


def _weighted_auc(kernel: FloatArray, labels: IntArray, draws: FloatArray) -> FloatArray:
    up, down = draws[:, labels == 1], draws[:, labels == 0]
    pairs = up.sum(axis=1) * down.sum(axis=1)
    result: FloatArray = ((up @ kernel) * down).sum(axis=1) / np.maximum(pairs, 1e-12)
    return result


def _metric(outcome: _Outcome, metric: str, draws: FloatArray) -> FloatArray:
    """Return a metric for each row of patient counts, shape (n_draws,)."""
    if metric == "slice_accuracy":
        value: FloatArray = draws @ outcome.slice_accuracy / draws.sum(axis=1)
        return value
    if metric == "slice_auc":
        return _weighted_auc(outcome.slice_kernel, outcome.labels, draws)
    if metric == "patient_auc":
        return _weighted_auc(outcome.patient_kernel, outcome.labels, draws)
    parts = []
    for label in (0, 1):
        members = draws[:, outcome.labels == label]
        right = members @ outcome.patient_right[outcome.labels == label]
        parts.append(right / np.maximum(members.sum(axis=1), 1e-12))
    return np.asarray((parts[0] + parts[1]) / 2)


def _figures(outcomes: list[_Outcome], draws: FloatArray) -> dict[str, dict[str, Any]]:
    """Each metric, averaged over replicates, with an interval from resampled patients."""
    n = draws.shape[1]
    once = np.ones((1, n))
    return {
        metric: {
            "value": float(np.mean([_metric(o, metric, once)[0] for o in outcomes])),
            **_interval(np.mean([_metric(o, metric, draws) for o in outcomes], axis=0)),
            "n": n,
        }
        for metric in _METRICS
    }


def _interval(values: FloatArray) -> dict[str, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return {"ci_low": float(low), "ci_high": float(high)}


def _inflation(outcomes: dict[str, list[_Outcome]], draws: FloatArray) -> dict[str, float]:
    """Slice accuracy by slice split minus by patient split, in points."""
    honest = outcomes["patient_split_true_labels"][0].slice_accuracy
    leaky = outcomes["slice_split_true_labels"][0].slice_accuracy
    gap = 100 * (leaky - honest)
    return {"value": float(gap.mean()), **_interval(draws @ gap / draws.sum(axis=1))}


def _sentence(arms: dict[str, dict[str, dict[str, Any]]], inflation: dict[str, float]) -> str:
    leaky = 100 * arms["slice_split_true_labels"]["slice_accuracy"]["value"]
    honest = 100 * arms["patient_split_true_labels"]["slice_accuracy"]["value"]
    nonsense = 100 * arms["slice_split_permuted_labels"]["slice_accuracy"]["value"]
    return (
        f"A study that had split these scans by slice would have claimed a slice accuracy of "
        f"{leaky:.1f} %; on patients the same head has not seen it reaches {honest:.1f} %, "
        f"{inflation['value']:.1f} points less. With labels dealt out at random the slice split "
        f"would still have claimed {nonsense:.1f} %."
    )
