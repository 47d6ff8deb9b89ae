"""Section `training`: how heads are fitted, and how the final model and threshold are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.models.heads import HEADS
from mri_transfer.report.blocks.blocks import bullets, missing, section_of
from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.document import Heading, Link, Section, Text
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.tables.choice_tables import choice_blocks

__all__ = ["training_section"]


def training_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    config = inputs.config
    return section_of(
        "training",
        "Training, and how the model was chosen",
        "Training",
        bullets([*_split(inputs), *_harmonised(config)]),
        Text(
            text="That no patient, scan or file stands on both sides of a split is not only "
            "intended: the audit reads it from the record that every fold left.",
            links=(Link(text="Audit of the splits", target="#leakage"),),
        ),
        _size_table(inputs),
        Heading(text="The head and its optimisation"),
        bullets(_head(config.get("heads") or {})) or missing("The head's settings are not known."),
        Heading(text="How procedure, recalibration and threshold are chosen"),
        bullets([*_search(inputs), *_prediction(config)]),
        choice_blocks(inputs),
        Text(
            text="No single model comes out of this report: its figures are those of the procedure "
            "above, repeated in every fold. The model to be used afterwards is made by the same "
            "procedure from all patients.",
            role="note",
        ),
    )


def _split(inputs: ReportInputs) -> list[str]:
    evaluation = inputs.evaluation
    n_folds, n_repeats = evaluation["n_folds"], evaluation["n_repeats"]
    inner = (inputs.config.get("folds") or {}).get("n_inner_folds")
    again = "once" if n_repeats == 1 else f"{n_repeats} times, each time drawn anew"
    seed = inputs.config.get("seed")
    sentences = [
        f"Partitions are disjoint by patient: all scans and slices of a patient are on one side. "
        f"Patients are divided into {n_folds} folds with like shares of the labels, {again}; each "
        "fold is held out once for testing, and the others train.",
    ]
    if inner is not None:
        sentences.append(
            f"Whatever is chosen is chosen on {inner} inner folds of the training patients, "
            "again by patient."
        )
    if seed is not None:
        sentences.append(
            f"Folds, initial weights, order of slices, permutations and resamples are drawn from "
            f"one seed: {seed}."
        )
    return sentences


def _harmonised(config: Mapping[str, Any]) -> list[str]:
    spec: Mapping[str, Any] = config.get("harmonisation") or {}
    if spec.get("kind", "none") == "none":
        return ["Features are not harmonised between sites."]
    kept = ", ".join(map(str, spec.get("preserve") or ())) or "nothing"
    return [
        f"Features are harmonised by ComBat, fitted on the training patients of each fold; site: "
        f"column {spec.get('site_column')}; kept: {kept}."
    ]


def _size_table(inputs: ReportInputs) -> Table:
    """Return how many patients train and test, and how many heads were fitted."""
    choices = inputs.evaluation.get("choices") or []
    rows = []
    if inputs.folds is not None:
        tested = inputs.folds.groupby(["repeat", "fold"])["patient_id"].transform("count")
        everyone = inputs.folds.groupby("repeat")["patient_id"].transform("count")
        trained = (everyone - tested).tolist()
        rows.append(Row("Training patients of a fold", (_span(trained),)))
        rows.append(Row("Patients held out by a fold", (_span(tested.tolist()),)))
    rows.append(Row("Heads fitted for testing", (str(len(choices)) if choices else "not known",)))
    inner = sum(
        len(trial.get("inner_auc") or ()) for one in choices for trial in one.get("trials") or ()
    )
    rows.append(
        Row("Heads fitted on inner folds, to choose", (str(inner) if choices else "not known",))
    )
    return Table(caption="Sizes of training", columns=("What", "Number"), rows=tuple(rows))


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _head(head: Mapping[str, Any]) -> list[str]:
    kind = head.get("kind")
    if kind not in HEADS:
        return [f"Head: {kind}."] if kind else []
    entry = HEADS[str(kind)]
    sentences = entry.optimisation(head)
    if head.get("balanced"):
        sentences.append(
            "Class weights: patients of a label count inversely to its frequency among the "
            "training patients."
        )
    elif "balanced" in head or "balanced" not in entry.spec.__dataclass_fields__:
        sentences.append("No class weights: all count the same.")
    return sentences


def _search(inputs: ReportInputs) -> list[str]:
    spec: Mapping[str, Any] = inputs.config.get("search") or {}
    if not spec:
        return []
    choices = inputs.evaluation.get("choices") or []
    searched = any(len(one.get("trials") or ()) > 1 for one in choices)
    if not searched:
        return ["Search: none; the configured procedure was used as it is."]
    margin = spec.get("margin_se")
    return [
        f"Search: up to {spec.get('n_trials')} procedures a fold ({spec.get('sampler')}), ranked "
        "by their mean AUC over the inner folds. Another replaces the configured one only if it is "
        f"better by more than {margin} corrected standard errors (Nadeau and Bengio 2003)."
    ]


def _prediction(config: Mapping[str, Any]) -> list[str]:
    spec: Mapping[str, Any] = config.get("predictions") or {}
    sentences = []
    methods = [str(name) for name in spec.get("recalibration") or ()]
    if methods == ["none"]:
        sentences.append("Recalibration: none; scores are as the head gives them.")
    elif methods:
        sentences.append(
            f"Recalibration: of {', '.join(methods)} the one with the lowest log loss on inner "
            "scores of the training patients."
        )
    threshold = spec.get("threshold")
    if threshold == "inner":
        sentences.append(
            "Threshold: the score with the highest Youden index (sensitivity plus specificity "
            "minus one) on inner scores of the training patients, in each fold."
        )
    elif threshold is not None:
        sentences.append(f"Threshold: {threshold}, fixed beforehand.")
    targets = [str(name) for name in spec.get("targets") or ()]
    if targets:
        sentences.append(f"Further thresholds, set in the same way for: {', '.join(targets)}.")
    return sentences
