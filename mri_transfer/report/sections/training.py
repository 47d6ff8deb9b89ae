"""Section `training`: how heads are fitted, and how the final model and threshold are chosen."""

from __future__ import annotations

from mri_transfer.core.specs import spec_dict
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import HEADS, AnyHeadSpec
from mri_transfer.report.blocks.blocks import bullets, section_of
from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.document import Heading, Link, Section, Text
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.report.sections.tuning import tuning_blocks
from mri_transfer.report.tables.choice_tables import choice_blocks
from mri_transfer.training.settings import PredictionSpec

__all__ = ["training_section"]


def training_section(inputs: ReportInputs) -> Section:
    """Return the section."""
    settings = inputs.settings
    return section_of(
        "training",
        "Training, and how the model was chosen",
        bullets([*_split(inputs), *_harmonised(settings.harmonisation)]),
        Text(
            text="That no patient, scan or file is on both sides of a split is also checked: the "
            "audit reads it from the record that every fold left.",
            links=(Link(text="Audit of the splits", target="#leakage"),),
        ),
        _size_table(inputs),
        *tuning_blocks(inputs),
        Heading(text="The head and its optimisation"),
        bullets(_head(settings.heads)),
        Heading(text="How procedure, recalibration and threshold are chosen"),
        bullets([*_search(inputs), *_prediction(settings.predictions)]),
        choice_blocks(inputs),
        Text(
            text="No single model comes out of this report: its figures are those of the procedure "
            "above, repeated in every fold. The model to be used afterwards is made by the same "
            "procedure from all patients.",
            role="note",
        ),
        short="Training",
    )


def _split(inputs: ReportInputs) -> list[str]:
    n_folds, n_repeats = inputs.evaluation.n_folds, inputs.evaluation.n_repeats
    again = "once" if n_repeats == 1 else f"{n_repeats} times, each time drawn anew"
    return [
        f"Partitions are disjoint by patient: all scans and slices of a patient are on one side. "
        f"Patients are divided into {n_folds} folds with like shares of the labels, {again}; each "
        "fold is held out once for testing, and the others train.",
        f"Whatever is chosen is chosen on {_n_inner(inputs)} inner folds of the "
        "training patients, again by patient.",
        "Folds, initial weights, order of slices, permutations and resamples are drawn from "
        f"one seed: {inputs.settings.seed}.",
    ]


def _n_inner(inputs: ReportInputs) -> int:
    settings = inputs.settings
    return settings.tuning.inner_folds if settings.tuning.trains else settings.folds.n_inner_folds


def _harmonised(spec: HarmonisationSpec) -> list[str]:
    if spec.kind == "none":
        return ["Features are not harmonised between sites."]
    kept = ", ".join(spec.preserve) or "nothing"
    return [
        f"Features are harmonised by ComBat, fitted on the training patients of each fold; site: "
        f"column {spec.site_column}; kept: {kept}."
    ]


def _size_table(inputs: ReportInputs) -> Table:
    """Return how many patients train and test, and how many heads were fitted."""
    choices = inputs.evaluation.choices
    rows = []
    if inputs.folds is not None:
        tested = inputs.folds.groupby(["repeat", "fold"])["patient_id"].transform("count")
        everyone = inputs.folds.groupby("repeat")["patient_id"].transform("count")
        trained = (everyone - tested).tolist()
        rows.append(Row("Training patients of a fold", (_span(trained),)))
        rows.append(Row("Patients held out by a fold", (_span(tested.tolist()),)))
    rows.append(Row("Heads fitted for testing", (str(len(choices)) if choices else "not known",)))
    inner = sum(len(trial.inner_auc) for choice in choices for trial in choice.trials)
    rows.append(
        Row("Heads fitted on inner folds, to choose", (str(inner) if choices else "not known",))
    )
    return Table(caption="Sizes of training", columns=("What", "Number"), rows=tuple(rows))


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _head(head: AnyHeadSpec) -> list[str]:
    sentences = HEADS[head.kind].optimisation(spec_dict(head))
    if getattr(head, "balanced", False):
        sentences.append(
            "Class weights: patients of a label count inversely to its frequency among the "
            "training patients."
        )
    else:
        sentences.append("No class weights: all count the same.")
    return sentences


def _search(inputs: ReportInputs) -> list[str]:
    spec = inputs.settings.search
    if not any(len(choice.trials) > 1 for choice in inputs.evaluation.choices):
        return ["Search: none; the configured procedure was used as it is."]
    return [
        f"Search: up to {spec.n_trials} procedures a fold ({spec.sampler}), ranked "
        "by their mean AUC over the inner folds. Another replaces the configured one only if it is "
        f"better by more than {spec.margin_se} corrected standard errors (Nadeau and Bengio 2003)."
    ]


def _prediction(spec: PredictionSpec) -> list[str]:
    if spec.recalibration == ("none",):
        sentences = ["Recalibration: none; scores are as the head gives them."]
    else:
        sentences = [
            f"Recalibration: of {', '.join(spec.recalibration)} the one with the lowest log loss "
            "on inner scores of the training patients."
        ]
    if spec.threshold == "inner":
        sentences.append(
            "Threshold: the score with the highest Youden index (sensitivity plus specificity "
            "minus one) on inner scores of the training patients, in each fold."
        )
    else:
        sentences.append(f"Threshold: {spec.threshold}, fixed beforehand.")
    if spec.targets:
        sentences.append(f"Further thresholds, set in the same way for: {', '.join(spec.targets)}.")
    return sentences
