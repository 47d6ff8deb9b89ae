"""The leakage stress test: the same head under an honest and under a leaky split.

Splitting by slice puts slices of one patient on both sides. The head then recognises the patient
and recalls the label, whether or not the label has anything to do with the image (Yagis et al.
2021). Splitting by session does the same with patients who were scanned more than once. The arms
make that visible: split by patient, by slice or, where there are patients with several scans, by
session; true or permuted labels. Only the arm "by patient, true labels" says how good the model
is, and the arm "by patient, permuted labels" what it would reach by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.core.results import ResultStore
from mri_transfer.core.threads import map_on_cores
from mri_transfer.evaluation.audit.arms import Arm, ArmRunner, Split, all_arms
from mri_transfer.evaluation.audit.document import (
    ArmFigures,
    ArmName,
    PermutationTest,
    SeveralScans,
    StressTest,
)
from mri_transfer.evaluation.audit.outcomes import METRICS, Outcome, outcome_metric
from mri_transfer.evaluation.audit.replicates import permutation_mean, resampled_figure
from mri_transfer.metrics.intervals import Estimate, resample_patients
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.folds import Folds, derive_seed
from mri_transfer.training.settings import FoldSpec

__all__ = ["ARMS", "SESSION_ARMS", "stress_test"]


#: The arms of every cohort: how the slices are split, and whether labels are permuted.
ARMS = tuple(arm.name for arm in all_arms(sessions=False))
#: Those that need patients with several scans.
SESSION_ARMS = tuple(arm.name for arm in all_arms(sessions=True) if arm.name not in ARMS)

#: A larger cohort is represented by about so many patients, drawn with the seed.
MAX_PATIENTS = 2000
_INFLATED = ("slice_accuracy", "slice_auc")
_HONEST, _CHANCE = Arm(split="patient", permuted=False), Arm(split="patient", permuted=True)
#: Permutations from which their own spread gives the interval of their mean.
_ENOUGH_PERMUTATIONS = 10


def stress_test(
    estimator: TransferClassifier,
    data: LabelledFeatures,
    folds: Folds,
    *,
    fold_spec: FoldSpec,
    n_permutations: int,
    bootstrap_samples: int,
    seed: int,
    results: ResultStore | None = None,
    features_id: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> StressTest:
    """Run the arms.

    Parameters
    ----------
    estimator : TransferClassifier
        Fixed for all arms: a leaky split offers no honest place to choose, so that neither its
        search nor its recalibration is run.
    data : LabelledFeatures
    folds : Folds
        Patients and their labels; the first repeat is the honest split.
    fold_spec : FoldSpec
        `n_folds` is used for every arm.
    n_permutations, bootstrap_samples, seed : int
    results : ResultStore, optional
        Keeps finished cross-validations, so that a killed audit goes on where it stopped. The
        figures are the same to the last bit with it and without.
    features_id : str
        What the features are known by, such as a digest of their keys; needed with `results`.
    progress : callable, optional
        Called with cross-validations done and in all.

    Returns
    -------
    StressTest
        Of a cohort of more than `MAX_PATIENTS` it is that of a sample, and its sentence says so.

    Raises
    ------
    ValueError
        If `results` is given without `features_id`.
    """
    if results is not None and not features_id:
        raise ValueError("results cannot be kept for features that are not named: features_id")
    n_all = len(folds.patient_ids)
    data, folds = _represented(data, folds, derive_seed(seed, 12))
    truth = data.is_positive
    estimator = estimator.without_choices()
    runner = ArmRunner(
        estimator,
        data,
        folds,
        fold_spec,
        seed=seed,
        results=results,
        features_id=features_id,
    )
    several = np.flatnonzero(np.bincount(runner.patient_of_scan, minlength=len(truth)) > 1)
    arms = all_arms(sessions=len(several) > 0)
    groups = {"all": np.arange(len(truth)), "several": several}
    tallies = {
        name: _Tally(truth, members, bootstrap_samples, derive_seed(seed, 8))
        for name, members in groups.items()
        if len(members)
    }
    planned = [(arm, i) for arm in arms for i in range(n_permutations if arm.permuted else 1)]

    def run(one: tuple[Arm, int]) -> Outcome:
        arm, replicate = one
        labels = _permuted(truth, seed, replicate) if arm.permuted else truth
        return runner.run(arm, labels, replicate=replicate)

    outcomes = map_on_cores(run, planned, algebra=True)
    for done, ((arm, _), outcome) in enumerate(zip(planned, outcomes, strict=True), start=1):
        for tally in tallies.values():
            tally.add(arm, outcome)
        if progress is not None:
            progress(done, len(planned))
    found = _stress_test(
        tallies, runner.hyperparameters.head.kind, fold_spec.n_folds, n_permutations
    )
    if n_all == len(truth):
        return found
    drawn = f" The stress test was run on {len(truth)} patients drawn from {n_all}."
    return found.model_copy(update={"sentence": found.sentence + drawn})


def _represented(data: LabelledFeatures, folds: Folds, seed: int) -> tuple[LabelledFeatures, Folds]:
    """Return a large cohort's patients whom the test is run on, each label in its share."""
    n = len(folds.patient_ids)
    if n <= MAX_PATIENTS:
        return data, folds
    rng, labels = np.random.default_rng(seed), np.array(folds.labels, dtype=object)
    drawn = []
    for label in sorted(set(folds.labels)):
        members = np.flatnonzero(labels == label)
        share = max(2, round(MAX_PATIENTS * len(members) / n))
        drawn.append(rng.choice(members, min(share, len(members)), replace=False))
    kept = np.sort(np.concatenate(drawn))
    names = tuple(folds.patient_ids[i] for i in kept)
    return data.only(names), Folds(
        patient_ids=names,
        labels=tuple(folds.labels[i] for i in kept),
        assignment=folds.assignment[:, kept],
    )


def _permuted(truth: IntArray, seed: int, replicate: int) -> IntArray:
    """Permute the labels; a replicate has the same labels in every arm."""
    return np.random.default_rng(derive_seed(seed, 7, replicate)).permutation(truth)


class _Tally:
    """Figures of some patients, arm by arm, and the same of resampled patients.

    Only sums over the replicates of an arm are kept, so that a thousand permutations need no
    more memory than one. All arms share the resamples, so that their differences are paired.
    """

    def __init__(self, truth: IntArray, members: IntArray, n_samples: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        drawn = members[resample_patients(truth[members], n_samples=n_samples, rng=rng)]
        self.n = len(members)
        # The first row is the patients as they are.
        self.counts = np.zeros((1 + n_samples, len(truth)))
        self.counts[0, members] = 1.0
        np.add.at(self.counts, (1 + np.arange(n_samples)[:, None], drawn), 1.0)
        self.values: dict[tuple[Arm, str], list[float]] = {}
        self.sums: dict[tuple[Arm, str], FloatArray] = {}

    @property
    def arms(self) -> list[Arm]:
        return list(dict.fromkeys(arm for arm, _ in self.sums))

    def add(self, arm: Arm, outcome: Outcome) -> None:
        for metric in METRICS:
            rows = outcome_metric(outcome, metric, self.counts)
            key = (arm, metric)
            self.values.setdefault(key, []).append(float(rows[0]))
            self.sums[key] = self.sums.get(key, np.zeros(len(rows))) + rows

    def mean(self, arm: Arm, metric: str) -> FloatArray:
        """Average over replicates: the patients as they are, then each resample."""
        mean: FloatArray = self.sums[arm, metric] / len(self.values[arm, metric])
        return mean

    def figures(self) -> dict[ArmName, ArmFigures]:
        return {
            arm.name: ArmFigures(**{name: self.figure(arm, name) for name in METRICS})
            for arm in self.arms
        }

    def figure(self, arm: Arm, metric: str) -> Estimate:
        if arm.permuted and len(self.values[arm, metric]) >= _ENOUGH_PERMUTATIONS:
            return permutation_mean(np.array(self.values[arm, metric]), self.n)
        return resampled_figure(self.mean(arm, metric), self.n)

    def inflation(self, split: Split, *, permuted: bool, metric: str) -> Estimate:
        """Return a leaky split's figure minus the honest split's, in points."""
        arms = [Arm(split=name, permuted=permuted) for name in (split, "patient")]
        if permuted and len(self.values[arms[0], metric]) >= _ENOUGH_PERMUTATIONS:
            # A replicate has the same labels in both arms.
            pairs = (np.array(self.values[arm, metric]) for arm in arms)
            return permutation_mean(100 * np.subtract(*pairs), self.n)
        leaky, honest = (self.mean(arm, metric) for arm in arms)
        return resampled_figure(100 * (leaky - honest), self.n)

    def inflations(self) -> dict[str, dict[str, dict[str, Estimate]]]:
        leaky = dict.fromkeys(arm.split for arm in self.arms if arm.split != "patient")
        return {
            f"{split}_split": {
                f"{'permuted' if permuted else 'true'}_labels": {
                    metric: self.inflation(split, permuted=permuted, metric=metric)
                    for metric in _INFLATED
                }
                for permuted in (False, True)
            }
            for split in leaky
        }


def _stress_test(
    tallies: Mapping[str, _Tally], head: str, n_folds: int, n_permutations: int
) -> StressTest:
    whole, several = tallies["all"], tallies.get("several")
    arms = whole.figures()
    inflation = whole.inflation("slice", permuted=False, metric="slice_accuracy")
    return StressTest(
        head=head,
        n_folds=n_folds,
        n_permutations=n_permutations,
        arms=arms,
        inflation_points=inflation.value,
        inflation=inflation,
        inflation_by_split=whole.inflations(),
        p_values={metric: _p_value(whole, metric) for metric in METRICS},
        several_scans=None if several is None else _several(several),
        sentence=_sentence(arms, inflation),
    )


def _several(tally: _Tally) -> SeveralScans:
    return SeveralScans(
        n_patients=tally.n, arms=tally.figures(), inflation_by_split=tally.inflations()
    )


def _p_value(tally: _Tally, metric: str) -> PermutationTest:
    """Return how often permuted labels reach the honest arm's figure.

    The true labels count as one of the permutations, so that p is never 0 and the test keeps its
    level (Phipson and Smyth 2010, Stat Appl Genet Mol Biol 9:39; Ojala and Garriga 2010, JMLR
    11:1833).
    """
    observed = tally.values[_HONEST, metric][0]
    permuted = np.array(tally.values[_CHANCE, metric])
    # The same share can be summed in another order.
    at_least = int((permuted >= observed - 1e-12).sum())
    return PermutationTest(
        value=(1 + at_least) / (1 + len(permuted)),
        observed=observed,
        permuted_mean=float(permuted.mean()),
        n_permutations=len(permuted),
        n_at_least=at_least,
        method="labels permuted between patients, folds stratified anew",
    )


def _sentence(arms: Mapping[ArmName, ArmFigures], inflation: Estimate) -> str:
    def accuracy(arm: ArmName) -> float:
        share = arms[arm].slice_accuracy.value
        assert share is not None  # defined for any labels
        return 100 * share

    leaky, honest = accuracy("slice_split_true_labels"), accuracy("patient_split_true_labels")
    nonsense = accuracy("slice_split_permuted_labels")
    return (
        f"With a split by slice this study would have reported a slice accuracy of {leaky:.1f} %. "
        f"With a split by patient the same head reaches {honest:.1f} %, "
        f"{_points(inflation.value)}. With randomly permuted labels the split by slice still gives "
        f"{nonsense:.1f} %."
    )


def _points(less: float | None) -> str:
    """Say by how much the honest accuracy is below the leaky one, or above it in a small cohort."""
    assert less is not None  # defined as both accuracies are
    shown = f"{abs(less):.1f}"
    if shown == "0.0":
        return "no less"
    return f"{shown} percentage points {'less' if less > 0 else 'more'}"
