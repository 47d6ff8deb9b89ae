"""The content of `audit.json`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from mri_transfer.core.documents import Amount, Count, Document, OptionalText, Part, PValue, Share
from mri_transfer.evaluation.audit.checks import CheckResult
from mri_transfer.evaluation.audit.learning_results import LearningCurve
from mri_transfer.evaluation.audit.shortcut_results import Shortcuts
from mri_transfer.metrics.estimates import AtMostOne, Difference, Points, Proportion
from mri_transfer.metrics.intervals import Estimate

__all__ = [
    "ArmFigures",
    "ArmName",
    "Arms",
    "AuditDocument",
    "BetweenSessions",
    "CheckResult",
    "DuplicateKind",
    "DuplicatePair",
    "Duplicates",
    "Identity",
    "IdentityAtGap",
    "Leakage",
    "PermutationTest",
    "Retest",
    "RobustnessRow",
    "SeveralScans",
    "SimilarPair",
    "Similarity",
    "SimilarityRange",
    "StressTest",
]

_SCHEMA: Literal["mri-transfer/audit/2"] = "mri-transfer/audit/2"
_Cosine = Annotated[float, Field(ge=-1, le=1)]
_Figure = Annotated[str, Field(description="The figure.")]


class ArmFigures(Part):
    """Figures of an arm of the stress test."""

    slice_accuracy: Proportion
    """Share of the slices called correctly."""
    slice_auc: Proportion
    """Area under the ROC curve of the slices' scores."""
    patient_auc: Proportion
    """Area under the ROC curve of the patients' scores."""
    patient_balanced_accuracy: Proportion
    """Mean of sensitivity and specificity of the patients' calls."""


ArmName: TypeAlias = Literal[
    "patient_split_true_labels",
    "session_split_true_labels",
    "slice_split_true_labels",
    "patient_split_permuted_labels",
    "session_split_permuted_labels",
    "slice_split_permuted_labels",
]
_Arm = Annotated[
    ArmName,
    Field(
        description="How slices were split between training and test, and whether labels were "
        "permuted between patients."
    ),
]
_Split = Annotated[str, Field(description="The leaky split.")]
_Labels = Annotated[str, Field(description="Whether labels were true or permuted.")]


class Arms(Part):
    """Figures of the arms over some patients, and by how much leaky splits exceed the honest."""

    arms: dict[_Arm, ArmFigures]
    """Figures of each arm of the stress test; those with permuted labels are means over the
    permutations."""
    inflation_by_split: dict[_Split, dict[_Labels, dict[_Figure, Points]]]
    """By how many points (100 are the whole range) a leaky split's figure exceeds that of the
    split by patient, by split, labels and figure."""


class SeveralScans(Arms):
    """The same over the patients with several scans."""

    n_patients: Annotated[int, Field(ge=1)]
    """Patients with several scans."""


class PermutationTest(Part):
    """How often permuted labels reach a figure of the true ones."""

    value: PValue
    """p value, one-sided: (1 + permutations at least as good) / (1 + permutations)."""
    observed: float
    """The figure with true labels."""
    permuted_mean: float
    """Mean of the figure over permutations."""
    n_permutations: Annotated[int, Field(ge=1)]
    """Permutations of the labels."""
    n_at_least: Count
    """Permutations that reach the figure with true labels."""
    method: str
    """What was permuted."""


class IdentityAtGap(Part):
    """How well the nearest slice at a gap in height names the patient."""

    gap_mm: Annotated[float, Field(ge=0)]
    """Least height in millimetres between the slice and those it is compared with."""
    n_slices: Count
    """Slices whose patient has another slice this far away."""
    top1: Proportion
    """Rate at which the nearest slice belongs to the slice's own patient."""
    top5: Proportion
    """Rate at which the own patient is among the five nearest patients."""
    label_recall: Proportion
    """Rate at which the nearest slice has the slice's own label."""


class BetweenSessions(Part):
    """The same with other scans of the patient only."""

    n_patients: Annotated[int, Field(ge=1)]
    """Patients with several scans."""
    top1: Proportion
    """Rate at which the nearest patient is the slice's own, by other scans only."""
    top5: Proportion
    """Rate at which the own patient is among the five nearest, by other scans only."""


class Identity(Part):
    """Whether the features tell which patient a slice comes from: why splits by slice leak.

    Nearest neighbours among all slices.
    """

    n_patients: Annotated[int, Field(ge=2)]
    """Patients compared."""
    n_slices: Annotated[int, Field(ge=1)]
    """Slices compared."""
    chance_top1: Share
    """Rate at which guessing names the right patient."""
    chance_top5: Share
    """Rate at which five guesses name the right patient."""
    by_gap: tuple[IdentityAtGap, ...]
    """One entry a gap in height between a slice and those it is compared with."""
    between_sessions: BetweenSessions | None
    """The same with other scans of the patient only; null without patients who were scanned
    twice."""
    label_of_others: Proportion
    """Rate at which the nearest slice of another patient has the slice's own label: recall without
    identity."""
    sentence: str
    """The same in a few sentences."""


class StressTest(Arms):
    """The leakage stress test.

    The same head under an honest split by patient and under leaky ones, with true and with
    permuted labels.
    """

    head: str
    """Kind of the head."""
    n_folds: Annotated[int, Field(ge=2)]
    """Folds of every arm."""
    n_permutations: Annotated[int, Field(ge=1)]
    """Permutations of the labels behind each permuted arm."""
    inflation_points: Annotated[float, Field(ge=-100, le=100)] | None
    """Slice accuracy by slice split minus by patient split, true labels, in points; null where
    undefined."""
    inflation: Points
    """The same with its interval."""
    p_values: dict[_Figure, PermutationTest]
    """How often permuted labels reach what the split by patient reaches with true labels."""
    several_scans: SeveralScans | None
    """The same over the patients with several scans; null if there are none."""
    sentence: str
    """The outcome in two sentences."""


class Leakage(StressTest):
    """The leakage stress test, and whether the features tell which patient a slice comes from."""

    identity: Identity


DuplicateKind: TypeAlias = Literal[
    "same file", "same volume", "same brain", "sessions that differ", "sessions of one patient"
]


class DuplicatePair(Part):
    """A pair of scans that belong together, or that should and do not."""

    kind: DuplicateKind
    """The plainest likeness that holds."""
    scan_a: str
    """First scan of the pair."""
    patient_a: str
    """Patient of the first scan."""
    scan_b: str
    """Second scan of the pair."""
    patient_b: str
    """Patient of the second scan."""
    similarity: _Cosine | None
    """Correlation of the two brains' patterns; null if they cannot be compared."""
    mirrored: bool
    """Whether left and right are exchanged in one of them."""
    across_patients: bool
    """Whether the two go by different patient ids."""


class SimilarityRange(Part):
    """Similarities of some pairs of scans."""

    n: Count
    """Pairs of scans compared."""
    min: float | None
    """Least similarity; null without pairs."""
    median: float | None
    """Median similarity; null without pairs."""
    q99: float | None
    """99th percentile of the similarity; null without pairs."""
    max: float | None
    """Largest similarity; null without pairs."""


class SimilarPair(Part):
    """A pair of scans that are alike by their features."""

    scan_a: str
    """First scan of the pair."""
    patient_a: str
    """Patient of the first scan."""
    scan_b: str
    """Second scan of the pair."""
    patient_b: str
    """Patient of the second scan."""
    similarity: _Cosine
    """Cosine of the standardised features of the two scans."""
    same_patient: bool
    """Whether the two go by one patient id."""
    across_folds: bool | None
    """Whether a fold holds one of them out and not the other; null without folds."""


class Similarity(Part):
    """Likeness of scans by their features, as the head sees them."""

    threshold: _Cosine
    """Similarity from which a pair is listed."""
    n_scans: Count
    """Scans compared."""
    different_patients: SimilarityRange
    """Similarities of pairs of different patients."""
    same_patient: SimilarityRange
    """Similarities of pairs of one patient."""
    pairs: tuple[SimilarPair, ...]
    """Pairs at the threshold or above, those of different patients first."""
    reason: str | None
    """Why nothing was compared; null where something was."""


class Duplicates(Part):
    """Scans that are in the cohort twice, or that show one person."""

    identical_files: tuple[Annotated[tuple[str, ...], Field(min_length=2, max_length=2)], ...]
    """Pairs of scans whose files have the same content."""
    pairs: tuple[DuplicatePair, ...]
    """Pairs of scans that belong together, or that should and do not, by files, voxels and
    brains."""
    by_features: Similarity


class Retest(Part):
    """How far a patient's score depends on the session.

    The first two scans of every patient who has two or more.
    """

    n_patients: Count
    """Patients with two scans or more."""
    n_more: Count
    """Patients with more than two scans."""
    icc: AtMostOne
    """Intraclass correlation ICC(2,1): a shift from one session to the next counts as
    disagreement."""
    icc_one_way: AtMostOne
    """Intraclass correlation ICC(1,1): sessions have no order."""
    mean_difference: Estimate
    """Score of the second scan minus that of the first, mean over patients."""
    lower_limit: Estimate
    """Lower limit of agreement: 95 % of the differences are expected above it."""
    upper_limit: Estimate
    """Upper limit of agreement: 95 % of the differences lie between both limits."""
    flip_rate: Proportion
    """Share of the patients whose two scans are called differently."""
    mean_absolute_difference: Proportion
    """Absolute difference of the two scores, mean over patients."""


class RobustnessRow(Part):
    """What the scores become with one perturbation of the scans."""

    kind: str
    """What is done to the scans: motion, noise, bias, thickness, resolution, offset, gamma,
    rotation, lost slices or lost block of slices."""
    level: Amount
    """How much of it, in `unit`."""
    unit: str
    """Unit of the level."""
    name: str
    """Kind, level and unit in words."""
    n: Count
    """Patients scored."""
    note: OptionalText = None
    """What a reader has to know of this row; absent where nothing."""
    auc: Proportion
    """Area under the ROC curve with perturbed scans."""
    auc_clean: Proportion
    """The same patients' area with the scans as they are."""
    auc_change: Difference
    """Perturbed minus clean area, paired."""
    balanced_accuracy: Proportion
    """Mean of sensitivity and specificity with perturbed scans."""
    balanced_accuracy_clean: Proportion
    """The same with the scans as they are."""
    score_change: Proportion
    """Mean absolute change of the score."""
    score_shift: Difference
    """Mean signed change of the score: perturbed minus clean."""
    flip_rate: Proportion
    """Share of the patients whose predicted label changes, mean over repeats."""


class AuditDocument(Document):
    """Whether the evaluation leaks, what else the features tell, and how far the model holds."""

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/audit/2"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this document's form."""
    leakage: Leakage
    duplicates: Duplicates
    checks: tuple[CheckResult, ...]
    """Everything that was checked of the run, passed or not."""
    shortcuts: Shortcuts | None
    """What else the features tell within each label (age, sex, site, scanner), and whether the
    score could have used it; null where not asked."""
    retest: Retest
    robustness: tuple[RobustnessRow, ...] | None
    """What the scores become when scans are worse, by perturbation and level; null where not
    asked."""
    learning_curve: LearningCurve | None
    """How well heads rank held-out patients, by the number of patients (not images) they were
    trained on; null where not asked."""

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)
