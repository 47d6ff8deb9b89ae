"""What each outer fold chose on its training patients: procedure, recalibration, thresholds."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from mri_transfer.evaluation.fold_results import Choice, ChosenProcedure
from mri_transfer.report.blocks.blocks import bullets, how, joined, missing
from mri_transfer.report.blocks.cells import Column, Table, table_of
from mri_transfer.report.blocks.document import Block, Heading, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "choice_blocks",
]


def choice_blocks(inputs: ReportInputs) -> tuple[Block, ...]:
    """Return what each fold chose, with its heading and how to read it."""
    table = choice_table(inputs)
    heading = Heading(text="What each fold chose")
    if table is None:
        return heading, missing("Nothing is recorded of what the folds chose.")
    return joined(
        heading,
        Text(
            text="All of this was chosen on the training patients of each fold, by "
            "cross-validation among them. The patients whom the fold holds out, on whom every "
            "figure of this report rests, took no part."
        ),
        bullets(choice_sentences(inputs)),
        table,
        how(
            "Inner AUC: mean over inner folds, below it the range. It is that of training patients "
            "and, where many procedures were tried, too good for the one chosen; it is not "
            "evidence. Log loss, of recalibration, is on inner folds as well; less is better."
        ),
    )


def choice_table(inputs: ReportInputs) -> Table | None:
    """Return one row an outer fold; None where nothing is known of the choices."""
    choices = inputs.evaluation.choices
    targets = sorted({name for choice in choices for name in choice.target_thresholds})
    return table_of(
        choices,
        "What each fold chose on its training patients",
        Column("Repeat, fold", lambda choice: f"{choice.repeat}, {choice.fold}"),
        Column(
            "Hyperparameters", lambda choice: _differences(choice) or "as configured", wide=True
        ),
        Column("Inner AUC, configured", lambda choice: _inner_auc(choice, "configured")),
        Column("Inner AUC, chosen", lambda choice: _inner_auc(choice, "chosen")),
        Column("Tried", lambda choice: str(len(choice.trials)) if choice.trials else "nothing"),
        Column("Recalibration", _recalibration),
        Column("Threshold", lambda choice: number(choice.threshold)),
        *map(_aim, targets),
    )


def choice_sentences(inputs: ReportInputs) -> list[str]:
    """Return how often the configured procedure stayed, and what the other choices were."""
    choices = inputs.evaluation.choices
    if not choices:
        return []
    total = len(choices)
    kept = sum(not _differences(choice) for choice in choices)
    if max(len(choice.trials) for choice in choices) > 1:
        sentences = [f"The configured procedure was kept in {kept} of {total} folds."]
    else:
        sentences = ["Nothing was searched: every fold used the configured procedure."]
    maps = Counter(choice.recalibration.method for choice in choices)
    listed = ", ".join(f"{name} in {n}" for name, n in sorted(maps.items()))
    sentences.append(f"Recalibration, of {total} folds: {listed}.")
    sources = sorted({choice.threshold_from for choice in choices})
    return [*sentences, f"Thresholds: {'; '.join(sources)}."]


def _recalibration(choice: Choice) -> str:
    losses, method = choice.recalibration_log_loss, choice.recalibration.method
    text: str = method
    if method in losses:
        text += f"\nlog loss {number(losses[method])}"
        if method != "none" and "none" in losses:
            text += f", without {number(losses['none'])}"
    return text


def _aim(name: str) -> Column[Choice]:
    def cell(choice: Choice) -> str:
        aims = choice.target_thresholds
        return number(aims[name]) if name in aims else "not set"

    return Column(f"Threshold for {name}", cell)


def _inner_auc(choice: Choice, which: Literal["configured", "chosen"]) -> str:
    """Return the mean over inner folds of the trial that is marked so, and its range."""
    areas = next((trial.inner_auc for trial in choice.trials if getattr(trial, which)), ())
    if not areas:
        return "not computed"
    mean = number(sum(areas) / len(areas))
    return f"{mean}\n{number(min(areas))}\u00a0to\u00a0{number(max(areas))}"


def _differences(choice: Choice) -> str:
    """Say how the procedure differs from the configured one; empty where it does not."""
    configured = next((trial.procedure for trial in choice.trials if trial.configured), None)
    if configured is None:
        return ""
    base, chosen = _flat(configured), _flat(choice.procedure)
    names = sorted(base.keys() | chosen.keys())
    return "; ".join(
        f"{name.replace('_', ' ')} {chosen.get(name, 'none')} (configured {base.get(name, 'none')})"
        for name in names
        if chosen.get(name) != base.get(name)
    )


def _flat(procedure: ChosenProcedure) -> dict[str, str]:
    """Return every setting of a procedure as text; those of its head by their own names."""
    settings = procedure.model_dump()
    head = settings.pop("head")
    return {
        name: _text(value) for name, value in {**settings, "head": head.pop("kind"), **head}.items()
    }


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " / ".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value).replace("_", " ")
