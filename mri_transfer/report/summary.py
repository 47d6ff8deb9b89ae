"""The first screen in words: what was studied, on whom, and the answer in one sentence."""

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
    "studied",
    "threshold",
]


def studied(inputs: ReportInputs) -> str:
    """Return what was studied and how it was tested, in two sentences."""
    evaluation = inputs.evaluation
    negative, positive = inputs.task.labels
    settings = inputs.settings
    trunk, n_slices = TRUNKS[settings.trunk.name].title, settings.slices.n_slices
    head = HEADS[settings.heads.kind].title
    pretrained = "with weights that were named by their digest"
    if weights_released(settings.trunk):
        pretrained = "pretrained on ImageNet"
    if evaluation.trunk_weights == "scans":
        pretrained = "pretrained on unlabelled scans of other cohorts"
    if evaluation.trunk_weights == "random":
        pretrained = "untrained"
    repeats = evaluation.n_repeats
    times = "once" if repeats == 1 else f"{repeats} times, each with a new split"
    return (
        f"Whether {n_slices} axial slices of a T1-weighted MRI scan tell patients labelled "
        f"{spelt_out(positive)} from patients labelled {spelt_out(negative)}. A frozen {trunk} "
        f"trunk, {pretrained}, feeds {head}. Tested by {evaluation.n_folds}-fold "
        f"cross-validation, run {times}. "
        "All scans and slices of a patient are on the same side of every split, so each patient "
        "was scored by a model that had never seen that patient."
    )


def on_whom(inputs: ReportInputs) -> str:
    """Return the cohort in one sentence."""
    evaluation = inputs.evaluation
    negative, positive = inputs.task.labels
    n_positive = evaluation.n_positive
    n_negative = evaluation.n_patients - n_positive
    parts = [
        f"{evaluation.n_patients} patients ({n_positive} {positive}, {n_negative} {negative})",
        *(
            f"{n} {word}"
            for n, word in ((evaluation.n_scans, "scans"), (evaluation.n_slices, "slices"))
            if n is not None
        ),
    ]
    sentence = ", ".join(parts)
    evaluated = inputs.evaluated
    if "age" in evaluated and evaluated.age.notna().any():
        ages = evaluated.age.dropna().astype(float)
        sentence += (
            f"; mean age {mean_and_sd(ages).replace(' (', ' years (SD ')}, "
            f"{ages.min():.0f} to {ages.max():.0f}"
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
        f"The strongest baseline from the patients' table ({name}) reaches {number(area, 2)} on "
        "the same folds"
    )
    if area < 0.5:
        return f"{sentence}, which is worse than guessing (0.50): it is nothing to beat."
    if difference.value is None or difference.interval is None:
        return sentence + "."
    what = verdict(
        difference,
        above="the model is better",
        below="the model is worse",
        neither="no difference is shown",
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
