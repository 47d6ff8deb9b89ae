"""The tables that set the model beside simpler ones, and the image beside what is known anyway."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mri_transfer.report.blocks.cells import (
    Row,
    Table,
    confidence_text,
    stacked,
    value_and_interval,
    with_p,
)
from mri_transfer.report.blocks.wording import bare_p, estimate, interval, number, p_value
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "auc_table",
    "baseline_table",
    "best_baseline",
    "image_value_sentences",
    "image_value_table",
    "mcnemar_table",
    "sorted_baselines",
]

_KINDS = {
    "constant": "constant: knows nothing of a patient",
    "covariates": "covariates: known without the image",
    "image": "image: a simpler reading of it",
}


def sorted_baselines(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the baselines by kind, constant, covariates, image, the best of a kind first."""
    found = evaluation.get("baselines") or {}
    kinds = list(_KINDS)

    def place(name: str) -> tuple[int, float, str]:
        kind = found[name].get("kind", "covariates")
        value = found[name].get("auc", {}).get("value")
        return kinds.index(kind), -1.0 if value is None else -float(value), name

    return {name: found[name] for name in sorted(found, key=place)}


def best_baseline(evaluation: Mapping[str, Any], among: Collection[str]) -> str | None:
    """Return the baseline of covariates with the highest AUC; None if there is none."""
    for name, entry in sorted_baselines(evaluation).items():
        covariates = entry.get("kind", "covariates") == "covariates"
        if name in among and covariates and entry.get("auc", {}).get("value") is not None:
            return name
    return None


def auc_table(inputs: ReportInputs) -> Table:
    """Return the AUC of the model and of each baseline, as the figure draws them."""
    scored = {"This model": inputs.evaluation["patient"].get("auc", {})}
    baselines = sorted_baselines(inputs.evaluation)
    scored |= {name: entry.get("auc", {}) for name, entry in baselines.items()}
    return Table(
        caption="AUC by patient",
        columns=("Scored by", "AUC", confidence_text(inputs)),
        rows=tuple(Row(name, value_and_interval(entry)) for name, entry in scored.items()),
    )


def baseline_table(inputs: ReportInputs) -> Table | None:
    """Return the model and each baseline, with three readings of the difference of their AUC."""
    baselines = sorted_baselines(inputs.evaluation)
    if not baselines:
        return None
    patient = inputs.evaluation["patient"]
    own = (stacked(patient.get(name, {})) for name in ("auc", "balanced_accuracy"))
    rows = [Row("This model", (*own, "", "", "", "", ""))]
    for name, entry in baselines.items():
        delong, folds = entry.get("auc_difference", {}), entry.get("auc_difference_folds", {})
        cells = (
            stacked(entry.get("auc", {})),
            stacked(entry.get("balanced_accuracy", {})),
            stacked(delong),
            bare_p(delong.get("p")),
            stacked(entry.get("auc_difference_bootstrap", {})),
            stacked(folds),
            bare_p(folds.get("p")),
        )
        rows.append(Row(name, cells, note=_KINDS[str(entry.get("kind", "covariates"))]))
    return Table(
        caption=f"Model and baselines, same patients and folds, with {confidence_text(inputs)}",
        columns=(
            "Scored by",
            "AUC",
            "Balanced accuracy",
            "AUC, model minus baseline, by DeLong",
            "p",
            "by bootstrap of patients",
            "by fold, corrected t",
            "p, by fold",
        ),
        rows=tuple(rows),
    )


def mcnemar_table(inputs: ReportInputs) -> Table | None:
    """Return whom only the model and whom only the baseline calls rightly."""
    rows = []
    for name, entry in sorted_baselines(inputs.evaluation).items():
        found = entry.get("mcnemar")
        if not found:
            continue
        parts = [found[part] for part in ("accuracy", "sensitivity", "specificity")]
        rows.append(Row(name, tuple(cell for part in parts for cell in _discordant(part))))
    if not rows:
        return None
    negative, positive = inputs.labels
    groups = ("all", positive, negative)
    heads = [(f"Only right: model : baseline, {group}", f"p, {group}") for group in groups]
    return Table(
        caption="Calls at the threshold: patients whom only one of the two calls rightly (McNemar)",
        columns=("Baseline", *(column for pair in heads for column in pair)),
        rows=tuple(rows),
    )


def image_value_table(inputs: ReportInputs) -> Table | None:
    """Return what the image adds to each set of covariates, and the covariates to the image."""
    found = inputs.evaluation.get("image_value") or {}
    rows = [_image_row(name, found[name]) for name in _age_and_sex_first(found)]
    if not rows:
        return None
    return Table(
        caption=f"Covariates and image joined, with {confidence_text(inputs)}",
        columns=(
            "Known without the image",
            "AUC, joined",
            "Joined minus covariates, by DeLong",
            "by bootstrap of patients",
            "Joined minus image, by DeLong",
            "by bootstrap, minus image",
            "Likelihood ratio test of the image",
        ),
        rows=tuple(rows),
        wide=("Likelihood ratio test of the image",),
    )


def image_value_sentences(inputs: ReportInputs) -> list[str]:
    """Return, for each set of covariates, whether the image is shown to add to it."""
    found = inputs.evaluation.get("image_value") or {}
    sentences = []
    for name in _age_and_sex_first(found):
        gain = found[name].get("joined_minus_covariates") or {}
        if gain.get("value") is None or gain.get("ci_low") is None:
            reason = found[name].get("reason") or gain.get("reason") or "no interval was computed"
            sentences.append(f"What the image adds to {name} is not known: {reason}.")
            continue
        if gain["ci_low"] > 0:
            verdict = f"The image adds to {name}"
        elif gain["ci_high"] < 0:
            verdict = f"The image takes away from {name}"
        else:
            verdict = f"That the image adds to {name} is not shown"
        sentences.append(
            f"{verdict}: joined, the AUC is {number(found[name]['joined_auc']['value'], 2)}; "
            f"joined minus {name} alone "
            f"{estimate(gain, confidence=inputs.evaluation['confidence'])}."
        )
    return sentences


def _age_and_sex_first(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    def place(name: str) -> tuple[bool, str]:
        return set(found[name].get("covariates") or ()) != {"age", "sex"}, name

    return sorted(found, key=place)


def _image_row(name: str, entry: Mapping[str, Any]) -> Row:
    missing = {"value": None, "reason": entry.get("reason")}
    parts = [
        with_p(entry.get(f"joined_minus_{other}{way}") or missing)
        for other in ("covariates", "image")
        for way in ("", "_bootstrap")
    ]
    joined = stacked(entry.get("joined_auc") or missing)
    return Row(name, (joined, *parts, _ratio_test(entry.get("likelihood_ratio_test") or {})))


def _ratio_test(entry: Mapping[str, Any]) -> str:
    if entry.get("chi2") is None:
        return f"not defined:\n{entry.get('reason') or 'no reason was given'}"
    coefficient = entry["coefficient"]
    corrected = entry.get("p_one_sided_corrected")
    main = f"p\u00a0{p_value(entry['p'] if corrected is None else corrected)}"
    plain = "" if corrected is None else f"uncorrected, two-sided p\u00a0{p_value(entry['p'])}; "
    return (
        f"{main}\n{plain}\u03c7\u00b2\u00a0=\u00a0{number(entry['chi2'], 1)}, "
        f"df\u00a0{entry['df']}; coefficient {number(coefficient['value'], 2)} "
        f"({interval(coefficient, 2)})"
    )


def _discordant(part: Mapping[str, Any]) -> tuple[str, str]:
    p = f"{bare_p(part['p_mid'])}\nexact {bare_p(part['p_exact'])}"
    return f"{part['first_only']} : {part['second_only']}\nof {part['n']}", p
