"""The first screen in words: what was studied, on whom, and the answer in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.cohorts.labels import spelt_out
from mri_transfer.models.heads import HEADS
from mri_transfer.report.blocks.document import KeyFigure
from mri_transfer.report.blocks.wording import estimate, interval, label_of, number, p_value
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
    "setting",
    "studied",
    "threshold",
]

_UNITS = (("n_scans", "scans"), ("n_slices", "slices"))


def studied(inputs: ReportInputs) -> str:
    """Return what was studied and how it was tested, in two sentences."""
    evaluation = inputs.evaluation
    negative, positive = inputs.labels
    trunk = setting(inputs.config, "trunk", "name") or "convolutional"
    kind = setting(inputs.config, "head", "kind")
    head = HEADS[str(kind)].title if kind in HEADS else f"a {kind or 'small'} head"
    n_slices = setting(inputs.config, "slice", "n_slices") or 32
    weights = evaluation.get("trunk_weights")
    pretrained = "untrained" if weights == "random" else "pretrained on ImageNet"
    repeats = evaluation["n_repeats"]
    times = "once" if repeats == 1 else f"{repeats} times, each with a new split"
    return (
        f"Whether {n_slices} axial slices of a T1-weighted MRI scan tell patients labelled "
        f"{spelt_out(positive)} from patients labelled {spelt_out(negative)}. A frozen {trunk} "
        f"trunk, {pretrained}, feeds {head}. Tested by {evaluation['n_folds']}-fold "
        f"cross-validation, run {times}. "
        "All scans and slices of a patient are on the same side of every split, so each patient "
        "was scored by a model that had never seen that patient."
    )


def on_whom(inputs: ReportInputs) -> str:
    """Return the cohort in one sentence."""
    evaluation = inputs.evaluation
    negative, positive = inputs.labels
    n_positive = evaluation["n_positive"]
    n_negative = evaluation["n_patients"] - n_positive
    parts = [
        f"{evaluation['n_patients']} patients ({n_positive} {positive}, {n_negative} {negative})",
        *(f"{evaluation[key]} {word}" for key, word in _UNITS if evaluation.get(key) is not None),
    ]
    sentence = ", ".join(parts)
    evaluated = inputs.evaluated
    if "age" in evaluated and evaluated["age"].notna().any():
        ages = evaluated["age"].dropna().astype(float)
        sentence += (
            f"; mean age {mean_and_sd(ages).replace(' (', ' years (SD ')}, "
            f"{ages.min():.0f} to {ages.max():.0f}"
        )
    return sentence + "."


def answer(inputs: ReportInputs) -> str:
    """Return the result in one sentence, with its interval, and what it does not exclude."""
    evaluation = inputs.evaluation
    negative, positive = inputs.labels
    entry = evaluation["patient"].get("auc", {})
    cohort = "In this synthetic cohort, of" if evaluation["synthetic"] else "Of"
    text = estimate(entry, confidence=evaluation["confidence"])
    if entry.get("value") is None:
        return f"There is no answer: the AUC by patient is {text}."
    sentence = (
        f"{cohort} one patient labelled {positive} and one labelled {negative}, the model scores "
        f"the first higher {100 * entry['value']:.0f} times in 100: AUC {text}."
    )
    low, high = entry.get("ci_low"), entry.get("ci_high")
    if low is not None and high is not None and low <= 0.5:
        if high < 0.5:
            sentence += " That is worse than guessing: look for swapped labels or a faulty split."
        else:
            sentence += " The interval includes 0.50, so guessing is not ruled out."
    return sentence


def comparison(inputs: ReportInputs) -> str:
    """Return how the model stands against the strongest baseline of covariates, if there is one."""
    found = inputs.evaluation.get("baselines") or {}
    name = best_baseline(inputs.evaluation, among=found)
    if name is None:
        return ""
    sentence = (
        f"The strongest baseline from the patients' table ({name}) reaches "
        f"{number(found[name]['auc']['value'], 2)} on the same folds"
    )
    difference = found[name].get("auc_difference", {})
    if found[name]["auc"]["value"] < 0.5:
        return f"{sentence}, which is worse than guessing (0.50): it is nothing to beat."
    if difference.get("value") is None or difference.get("ci_low") is None:
        return sentence + "."
    if difference["ci_low"] > 0:
        verdict = "the model is better"
    elif difference["ci_high"] < 0:
        verdict = "the model is worse"
    else:
        verdict = "no difference is shown"
    p = p_value(difference.get("p"))
    return (
        f"{sentence}; {verdict} (model minus baseline {number(difference['value'], 2)}, "
        f"{100 * inputs.evaluation['confidence']:g}\u00a0%\u00a0CI {interval(difference, 2)}, "
        f"p\u00a0{p})."
    )


def key_figures(inputs: ReportInputs) -> tuple[KeyFigure, ...]:
    """Return the four figures of the first screen."""
    figures = []
    for name in ("auc", "balanced_accuracy", "sensitivity", "specificity"):
        entry = inputs.evaluation["patient"].get(name)
        if entry is not None:
            value = entry.get("value")
            figures.append(
                KeyFigure(
                    title=label_of(name),
                    value="not defined" if value is None else number(value, 2),
                    note=(entry.get("reason") or "") if value is None else interval(entry, 2),
                )
            )
    return tuple(figures)


def threshold(inputs: ReportInputs) -> str:
    """Return where the threshold comes from."""
    chosen = setting(inputs.config, "prediction", "threshold")
    if isinstance(chosen, (int, float)):
        return f"The threshold was fixed beforehand at {number(chosen, 2)} for all patients."
    return (
        "The threshold was chosen on training patients of each fold and never on the patients it "
        "is applied to."
    )


def failed_checks(inputs: ReportInputs) -> list[str]:
    """Return the checks of the audit that did not pass, each in a sentence."""
    return [
        f"{check['what'].rstrip('.')}: " + outcome(check)
        for check in (inputs.audit or {}).get("checks") or []
        if not check["passed"]
    ]


def setting(config: Mapping[str, Any], section: str, key: str) -> Any:
    """Return a setting of the section of that name, singular or plural; None if there is none."""
    for name in (section, f"{section}s"):
        found = config.get(name)
        if isinstance(found, Mapping) and key in found:
            return found[key]
    return None
