"""The first screen in words: the question, how it was tested, on whom, and the answer."""

from __future__ import annotations

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.models.heads import HEADS
from mri_transfer.models.trunks import TRUNKS, weights_released
from mri_transfer.report.blocks.report import KeyFigure
from mri_transfer.report.blocks.wording import (
    estimate,
    interval,
    label_of,
    number,
    p_value,
    spelt_names,
    verdict,
)
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.audit_tables import outcome
from mri_transfer.report.tables.cohort import mean_and_sd
from mri_transfer.report.tables.comparison_tables import best_baseline

__all__ = [
    "answer",
    "comparison",
    "failed_checks",
    "key_figures",
    "on_whom",
    "question",
    "studied",
    "threshold",
]


def question(inputs: ReportInputs) -> str:
    """Return what the study asks, with both labels spelt out."""
    negative, positive = map(spelt_out, inputs.task.labels)
    return (
        f"Does a T1-weighted MRI scan of the brain separate patients labelled {positive} from "
        f"patients labelled {negative}?"
    )


def studied(inputs: ReportInputs) -> str:
    """Return what was tested, and how, in three sentences."""
    evaluation, settings = inputs.evaluation, inputs.settings
    trunk, head = TRUNKS[settings.trunk.name].title, HEADS[settings.heads.kind].title
    pretrained = "with weights known by their digest alone"
    if weights_released(settings.trunk):
        pretrained = "pretrained on photographs (ImageNet)"
    if evaluation.trunk_weights == "scans":
        pretrained = "pretrained on unlabelled scans of other cohorts"
    if evaluation.trunk_weights == "random":
        pretrained = "with random weights"
    kept = "partly retrained" if settings.tuning.trains else "kept frozen"
    repeats = evaluation.n_repeats
    times = "once" if repeats == 1 else f"{repeats} times with new splits"
    return (
        f"{settings.slices.n_slices} axial slices of each scan pass through {trunk}, a neural "
        f"network {pretrained} and {kept}; {head} turns its output into a score. Tested by "
        f"{evaluation.n_folds}-fold cross-validation, run {times}. Splits are by patient: each "
        "patient was scored by models trained without that patient."
    )


def on_whom(inputs: ReportInputs) -> str:
    """Return the cohort in one sentence."""
    evaluation = inputs.evaluation
    negative, positive = map(spelt_out, inputs.task.labels)
    n_positive = evaluation.n_positive
    sentence = (
        f"{evaluation.n_patients} patients: {n_positive} labelled {positive}, "
        f"{evaluation.n_patients - n_positive} labelled {negative}"
    )
    if evaluation.n_scans is not None:
        sentence += f"; {evaluation.n_scans} scans"
    evaluated = inputs.evaluated
    if "age" in evaluated and evaluated.age.notna().any():
        ages = evaluated.age.dropna().astype(float)
        sentence += (
            f"; mean age {mean_and_sd(ages).replace(' (', ' years (standard deviation ')}, "
            f"range {ages.min():.0f} to {ages.max():.0f}"
        )
    return sentence + "."


def answer(inputs: ReportInputs) -> str:
    """Return the result in one sentence, with its interval, and what it does not exclude."""
    evaluation = inputs.evaluation
    negative, positive = inputs.task.labels
    entry = evaluation.patient.auc
    cohort = "In this synthetic cohort, of" if evaluation.synthetic else "Of"
    text = estimate(entry, confidence=evaluation.confidence)
    if entry.value is None:
        return f"There is no answer: the AUC by patient is {text}."
    sentence = (
        f"{cohort} one patient labelled {positive} and one labelled {negative}, the model scores "
        f"the first higher {100 * entry.value:.0f} times in 100: AUC {text}."
    )
    ends = entry.interval
    if ends is not None and ends[0] <= 0.5:
        if ends[1] < 0.5:
            sentence += " That is worse than guessing: look for swapped labels or a faulty split."
        else:
            sentence += " The interval includes 0.50, so guessing is not ruled out."
    return sentence


def comparison(inputs: ReportInputs) -> str:
    """Return how the model stands against the strongest baseline of covariates, if there is one."""
    found = inputs.evaluation.baselines
    name = best_baseline(inputs.evaluation, among=found)
    if name is None:
        return ""
    area, difference = found[name].auc.value or 0.0, found[name].auc_difference
    sentence = (
        f"The best baseline of covariates ({spelt_names(name)}) reaches an AUC of "
        f"{number(area, 2)} on the same folds"
    )
    if area < 0.5:
        return f"{sentence}, which is worse than guessing (0.50): it is nothing to beat."
    if difference.value is None or difference.interval is None:
        return sentence + "."
    what = verdict(
        difference,
        above="the model is better",
        below="the model is worse",
        neither="a difference is not shown",
    )
    return (
        f"{sentence}; {what} (model minus baseline {number(difference.value, 2)}, "
        f"{100 * inputs.evaluation.confidence:g}\u00a0%\u00a0CI {interval(difference, 2)}, "
        f"p\u00a0{p_value(difference.p)})."
    )


def key_figures(inputs: ReportInputs) -> tuple[KeyFigure, ...]:
    """Return the four figures of the first screen."""
    patient = inputs.evaluation.patient
    shown = {
        "auc": patient.auc,
        "balanced_accuracy": patient.balanced_accuracy,
        "sensitivity": patient.sensitivity,
        "specificity": patient.specificity,
    }
    return tuple(
        KeyFigure(
            title=label_of(name),
            value=number(one.value, 2),
            note=(one.reason or "") if one.value is None else interval(one, 2),
        )
        for name, one in shown.items()
    )


def threshold(inputs: ReportInputs) -> str:
    """Return where the threshold comes from."""
    chosen = inputs.settings.predictions.threshold
    if not isinstance(chosen, str):
        return f"The threshold was fixed beforehand at {number(chosen, 2)} for all patients."
    return (
        "The threshold was chosen on training patients of each fold and never on the patients it "
        "is applied to."
    )


def failed_checks(inputs: ReportInputs) -> list[str]:
    """Return the checks of the audit that did not pass, each in a sentence."""
    return [
        f"{check.what.rstrip('.')}: " + outcome(check)
        for check in inputs.checks
        if not check.passed
    ]
