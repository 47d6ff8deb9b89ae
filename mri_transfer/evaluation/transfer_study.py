"""TransferStudy: how much of a trunk should be trained on a cohort, and whether it helps.

Each arm is a model that starts from something and trains some of it. Arms are compared with a
reference, the frozen trunk, on the same patients and folds. Rules of thumb say in advance which
arm should be best; the advice holds them against what was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mri_transfer.core.documents import Count, Document, OptionalText, Part, PValue
from mri_transfer.evaluation.audit.learning_results import LearningCurve
from mri_transfer.evaluation.comparison_document import ComparisonDocument
from mri_transfer.evaluation.notices import Notice
from mri_transfer.metrics.estimates import Proportion, TestedDifference

__all__ = [
    "StudyArm",
    "StudyDocument",
    "TransferType",
    "advise",
    "compared_arms",
    "fewer_patients",
    "rule_of_thumb",
    "transfer_type",
]

_SCHEMA: Literal["mri-transfer/study/1"] = "mri-transfer/study/1"

TransferType = Literal["feature extraction", "fine-tuning", "architecture only"]
Seconds = Annotated[float, Field(ge=0)]

#: Cohorts with fewer patients count as small. Rules of thumb give no number; this one is ours.
_SMALL_PATIENTS = 1000
_STRATEGIES = {
    "frozen": "leave the trunk frozen",
    "some": "train the last stage",
    "most": "train all but the first stages",
    "all": "train every stage",
}
#: Names of the tables in an audit's learning curve.
_TRAINED, _UNTRAINED = "trained trunk", "random trunk"


def transfer_type(*, pretrained: bool, trains: bool) -> TransferType:
    """Return what is transferred.

    Parameters
    ----------
    pretrained : bool
        Whether the trunk starts from weights that were trained elsewhere.
    trains : bool
        Whether any of its stages is trained further.
    """
    if not pretrained:
        return "architecture only"
    return "fine-tuning" if trains else "feature extraction"


class StudyArm(Part):
    """One model of the study."""

    name: str
    trunk: str
    """A name of the registry of trunks."""
    strategy: Literal["frozen", "some", "most", "all"]
    """How many stages are trained: none, the last, all but the first third, every one."""
    method: Literal["full", "ssf", "norm", "lora", "parallel"]
    """What of them is trained: all parameters or few."""
    pretrained: bool
    """Whether it starts from released weights; otherwise from random ones."""
    transfer: TransferType
    """What is transferred."""
    state: Literal["done", "over budget", "failed"]
    reason: OptionalText = None
    """Why there is no result."""
    estimated_s: Seconds
    """Seconds of features and training, as estimated before the study."""
    measured_s: Seconds | None
    """As measured; null where nothing was run. Features that the cache held cost nothing."""
    n_trained: Count | None
    """Parameters of the trunk that were trained in each fold."""
    auc: Proportion | None
    """On the patients that all arms scored."""
    difference: TestedDifference | None
    """AUC of this arm minus that of the reference, by DeLong's paired method."""
    p_holm: PValue
    """p value of the difference, adjusted for all arms."""


class FewerPatients(Part):
    """How many patients the pretrained trunk needs to rank as well as the untrained one."""

    auc: Annotated[float, Field(ge=0, le=1)]
    """Of the untrained trunk with all training patients."""
    untrained: Annotated[float, Field(gt=0)]
    """Training patients of the untrained trunk."""
    pretrained: Annotated[float, Field(gt=0)] | None
    """Training patients with which the pretrained trunk reaches it, between the sizes that were
    tried; null if it does not."""
    sentence: str


class Advice(Part):
    """What to train, by rule and by measurement."""

    rule: str
    """The rule of thumb that applies, with its conditions."""
    strategy_of_rule: Literal["frozen", "some", "most", "all"]
    recommended: str
    """Name of the arm that is recommended."""
    agrees: bool | None
    """Whether rule and measurement agree; null where the arm of the rule was not run."""
    sentence: str


class StudyDocument(Document):
    """Arms of transfer learning on one cohort."""

    SCHEMA: ClassVar[str] = _SCHEMA

    schema_name: Literal["mri-transfer/study/1"] = Field(default=_SCHEMA, alias="schema")
    """Name and version of this form."""
    n_patients: Count
    """Patients that all arms scored."""
    n_positive: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    positive_label: str
    negative_label: str
    slice_px: Count
    """Edge of the slices."""
    reference: str
    """Name of the arm that the others are compared with."""
    warnings: tuple[Notice, ...]
    arms: tuple[StudyArm, ...]
    """From the cheapest to the dearest, as estimated."""
    learning_curve: LearningCurve | None
    """Of the reference and of an untrained trunk."""
    fewer_patients: FewerPatients | None
    advice: Advice


def compared_arms(
    arms: Iterable[StudyArm], document: ComparisonDocument, *, reference: str
) -> tuple[StudyArm, ...]:
    """Return arms with their figures from a comparison.

    Parameters
    ----------
    arms : iterable of StudyArm
    document : ComparisonDocument
        Of the arms that are done, the reference being its last run.
    reference : str
        The name of the reference.
    """
    from statsmodels.stats.multitest import multipletests

    figures = {run.name: run.common.auc for run in document.runs}
    differences = {
        pair.first: pair.auc_difference for pair in document.pairs if pair.second == reference
    }
    tested = [name for name, difference in differences.items() if difference.p is not None]
    p_values = [differences[name].p for name in tested]
    adjusted = multipletests(p_values, method="holm")[1].tolist() if tested else []
    p_holm = dict(zip(tested, adjusted, strict=True))
    return tuple(
        arm.model_copy(
            update={
                "auc": figures.get(arm.name),
                "difference": differences.get(arm.name),
                "p_holm": p_holm.get(arm.name),
            }
        )
        for arm in arms
    )


def rule_of_thumb(
    n_patients: int, *, similar: bool
) -> tuple[Literal["frozen", "some", "most", "all"], str]:
    """Return the strategy that rules of thumb advise, and the rule.

    Parameters
    ----------
    n_patients : int
    similar : bool
        Whether the source resembles the target: another cohort of MRI does, natural images do not.
    """
    size = "small" if n_patients < _SMALL_PATIENTS else "large"
    likeness = "similar to" if similar else "different from"
    strategies: dict[tuple[str, bool], Literal["frozen", "some", "most", "all"]] = {
        ("small", True): "frozen",
        ("small", False): "some",
        ("large", True): "most",
        ("large", False): "all",
    }
    strategy = strategies[size, similar]
    rule = (
        f"Rule of thumb for a {size} cohort ({n_patients} patients; fewer than {_SMALL_PATIENTS} "
        f"count as small) that is {likeness} the source: {_STRATEGIES[strategy]}."
    )
    return strategy, rule


def advise(
    arms: Sequence[StudyArm],
    *,
    reference: str,
    n_patients: int,
    alpha: float = 0.05,
    similar: bool = False,
) -> Advice:
    """Return what to train: the rule of thumb, held against what was measured.

    An arm is recommended in place of the reference only if its AUC is higher with an adjusted p
    value below `alpha`; of several, the one with the largest difference.

    Parameters
    ----------
    arms : sequence of StudyArm
        With their figures.
    reference : str
    n_patients : int
    alpha : float
    similar : bool
        As in `rule_of_thumb`.
    """
    strategy, rule = rule_of_thumb(n_patients, similar=similar)
    gains = [(_gain(arm, alpha), arm) for arm in arms]
    gain, largest = max(gains, key=lambda pair: pair[0])
    best = largest if gain > 0 else None
    recommended = reference if best is None else best.name
    by_name = {arm.name: arm for arm in arms}
    of_rule = _arm_of_rule(arms, strategy, by_name[reference].trunk)
    return Advice(
        rule=rule,
        strategy_of_rule=strategy,
        recommended=recommended,
        agrees=None if of_rule is None else by_name[recommended].strategy == strategy,
        sentence=_advice_sentence(by_name[reference], best, of_rule, strategy),
    )


def _gain(arm: StudyArm, alpha: float) -> float:
    """Return by how much an arm is better than the reference; 0 where that may be chance."""
    difference = arm.difference
    if difference is None or difference.value is None or arm.p_holm is None:
        return 0.0
    return difference.value if arm.p_holm < alpha else 0.0


def _arm_of_rule(arms: Sequence[StudyArm], strategy: str, trunk: str) -> StudyArm | None:
    """Return the arm that does what the rule says with the reference's trunk, if it was run."""
    return next(
        (
            arm
            for arm in arms
            if (arm.strategy, arm.method, arm.trunk) == (strategy, "full", trunk)
            and arm.pretrained
            and arm.state == "done"
        ),
        None,
    )


def _advice_sentence(
    reference: StudyArm, best: StudyArm | None, of_rule: StudyArm | None, strategy: str
) -> str:
    if best is not None:
        return (
            f"Use {best.name}: its AUC is {_difference_text(best)} above {reference.name}. It was "
            "chosen by the same scores that are reported, so confirm it on other patients."
        )
    keep = f"Keep {reference.name}: no arm ranks patients better with an adjusted p below .05."
    if of_rule is None or of_rule.name == reference.name:
        return keep
    cost = ""
    if of_rule.measured_s and reference.measured_s:
        ratio = of_rule.measured_s / max(reference.measured_s, 1.0)
        cost = f", for {ratio:.{0 if ratio >= 2 else 1}f} times the time"
    return (
        f"{keep} The rule of thumb says: {_STRATEGIES[strategy]}. Here that changed the AUC by "
        f"{_difference_text(of_rule)}{cost}."
    )


def _difference_text(arm: StudyArm) -> str:
    difference = arm.difference
    if difference is None or difference.value is None:
        return "an unknown amount"
    text = f"{difference.value:+.3f}"
    ends = difference.interval
    return text if ends is None else f"{text} ({ends[0]:+.3f} to {ends[1]:+.3f})"


def fewer_patients(curve: LearningCurve | None) -> FewerPatients | None:
    """Return how many patients a pretrained trunk saves, from a learning curve.

    The size at which the pretrained trunk reaches the AUC that the untrained one has with all
    training patients is interpolated between the sizes that were tried.

    Returns
    -------
    FewerPatients or None
        None without both curves.
    """
    if curve is None or not {_TRAINED, _UNTRAINED} <= set(curve.tables):
        return None
    trained, untrained = (
        [
            (row.n_train, row.auc.value)
            for row in curve.tables[name].curve
            if row.auc.value is not None
        ]
        for name in (_TRAINED, _UNTRAINED)
    )
    if not trained or not untrained:
        return None
    n_untrained, auc = untrained[-1]
    n_pretrained = _size_that_reaches(trained, auc)
    if n_pretrained is None:
        sentence = (
            f"The untrained trunk has an AUC of {auc:.3f} with {n_untrained:.0f} training "
            "patients; the pretrained trunk does not reach it."
        )
    elif n_pretrained <= trained[0][0]:
        sentence = (
            f"The pretrained trunk needs at most {n_pretrained:.0f} training patients, the fewest "
            f"tried, for the AUC of {auc:.3f} that the untrained trunk has with {n_untrained:.0f}: "
            f"at least {n_untrained / n_pretrained:.1f} times fewer."
        )
    else:
        sentence = (
            f"The pretrained trunk needs about {n_pretrained:.0f} training patients for the AUC of "
            f"{auc:.3f} that the untrained trunk has with {n_untrained:.0f}: "
            f"{n_untrained / n_pretrained:.1f} times fewer."
        )
    return FewerPatients(auc=auc, untrained=n_untrained, pretrained=n_pretrained, sentence=sentence)


def _size_that_reaches(curve: Sequence[tuple[float, float]], auc: float) -> float | None:
    """Return the first size, by linear interpolation, at which a curve reaches an AUC."""
    for (n_before, before), (n_after, after) in zip([curve[0], *curve], curve, strict=False):
        if after >= auc:
            if after == before or n_after == n_before:
                return float(n_after)
            share = (auc - before) / (after - before)
            return float(n_before + max(share, 0.0) * (n_after - n_before))
    return None
