"""What each outer fold chose on its training patients: procedure, recalibration, thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from mri_transfer.report.blocks.blocks import bullets, how, joined, missing
from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.document import Block, Heading, Text
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs

__all__ = ["choice_blocks", "choice_sentences", "choice_table"]


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
    choices = inputs.evaluation.get("choices") or []
    targets = sorted({name for one in choices for name in one.get("target_thresholds") or ()})
    rows = [_row(one, targets) for one in choices]
    if not rows:
        return None
    return Table(
        caption="What each fold chose on its training patients",
        columns=(
            "Repeat, fold",
            "Hyperparameters",
            "Inner AUC, configured",
            "Inner AUC, chosen",
            "Tried",
            "Recalibration",
            "Threshold",
            *(f"Threshold for {name}" for name in targets),
        ),
        rows=tuple(rows),
        wide=("Hyperparameters",),
    )


def choice_sentences(inputs: ReportInputs) -> list[str]:
    """Return how often the configured procedure stayed, and what the other choices were."""
    choices = inputs.evaluation.get("choices") or []
    if not choices:
        return []
    total = len(choices)
    kept = sum(not _differences(one) for one in choices)
    most = max(len(one.get("trials") or ()) for one in choices)
    if most > 1:
        sentences = [f"The configured procedure was kept in {kept} of {total} folds."]
    else:
        sentences = ["Nothing was searched: every fold used the configured procedure."]
    maps = Counter(str(one["recalibration"]["method"]) for one in choices)
    listed = ", ".join(f"{name} in {n}" for name, n in sorted(maps.items()))
    sentences.append(f"Recalibration, of {total} folds: {listed}.")
    sources = sorted({str(one["threshold_from"]) for one in choices})
    return [*sentences, f"Thresholds: {'; '.join(sources)}."]


def _row(choice: Mapping[str, Any], targets: list[str]) -> Row:
    trials = choice.get("trials") or []
    losses = choice.get("recalibration_log_loss") or {}
    method = str(choice["recalibration"]["method"])
    recalibration = method
    if method in losses:
        recalibration += f"\nlog loss {number(losses[method])}"
        if method != "none" and "none" in losses:
            recalibration += f", without {number(losses['none'])}"
    aims = choice.get("target_thresholds") or {}
    return Row(
        f"{choice['repeat']}, {choice['fold']}",
        (
            _differences(choice) or "as configured",
            _inner_auc(trials, "configured"),
            _inner_auc(trials, "chosen"),
            str(len(trials)) if trials else "nothing",
            recalibration,
            number(choice["threshold"]),
            *(number(aims[name]) if name in aims else "not set" for name in targets),
        ),
    )


def _inner_auc(trials: list[Mapping[str, Any]], which: str) -> str:
    """Return the mean over inner folds of the trial that is marked so, and its range."""
    found = [trial["inner_auc"] for trial in trials if trial.get(which)]
    if not found or not found[0]:
        return "not computed"
    areas = found[0]
    mean = number(sum(areas) / len(areas))
    return f"{mean}\n{number(min(areas))}\u00a0to\u00a0{number(max(areas))}"


def _differences(choice: Mapping[str, Any]) -> str:
    """Say how the procedure differs from the configured one; empty where it does not."""
    configured = [one["procedure"] for one in choice.get("trials") or [] if one.get("configured")]
    if not configured:
        return ""
    base, chosen = _flat(configured[0]), _flat(choice["procedure"])
    names = sorted(base.keys() | chosen.keys())
    return "; ".join(
        f"{name.replace('_', ' ')} {chosen.get(name, 'none')} (configured {base.get(name, 'none')})"
        for name in names
        if chosen.get(name) != base.get(name)
    )


def _flat(procedure: Mapping[str, Any]) -> dict[str, str]:
    """Return every setting of a procedure as text; those of its head by their own names."""
    head = {("head" if k == "kind" else k): v for k, v in (procedure.get("head") or {}).items()}
    rest = {name: value for name, value in procedure.items() if name != "head"}
    return {name: _text(value) for name, value in {**rest, **head}.items()}


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " / ".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value).replace("_", " ")
