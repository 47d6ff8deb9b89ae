"""How the thawed stages were trained in each fold, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.report import figures
from mri_transfer.report.blocks.blocks import bullets, figure, how, joined, missing
from mri_transfer.report.blocks.cells import Column, Row, Table, table_of
from mri_transfer.report.blocks.document import Block, Figure, Heading, Text
from mri_transfer.report.blocks.wording import number, plain_decimal
from mri_transfer.report.inputs import ReportInputs
from mri_transfer.training.fit_record import TuningRecord

__all__ = ["tuning_blocks"]

#: Repeat and fold of a fit.
Fit = tuple[int, int]


def tuning_blocks(inputs: ReportInputs) -> tuple[Block, ...]:
    """Return how thawed stages were trained; nothing where the trunk is frozen."""
    spec = inputs.settings.tuning
    if not spec.trains:
        return ()
    return joined(
        Heading(text="The thawed stages and their optimisation"),
        bullets(_settings(spec)),
        _course(inputs.tunings)
        if inputs.tunings
        else missing("Loss and inner figures by epoch are not shown: no head records them."),
    )


def _settings(spec: TuningSpec) -> list[str]:
    loss = {
        "patient": "cross-entropy of the mean log-odds of a scan's slices in the batch",
        "slice": "cross-entropy of each slice with its patient's label",
    }[spec.loss]
    by_stage = "one after another, the last first" if spec.unfreeze == "by_stage" else "together"
    schedule: str = spec.schedule
    if schedule == "plateau":
        schedule = (
            f"times {spec.plateau_factor:g} after more than {spec.plateau_patience} epochs without "
            "a lower training loss"
        )
    first = "fitted to the untuned features first" if spec.head_first else "started from zero"
    return [
        f"Loss: {loss}; labels weigh the same in sum.",
        f"{spec.optimiser}, learning rate {plain_decimal(spec.rate)} for the last stage and "
        f"times {spec.layer_decay:g} for each stage before it, {schedule}; batches of "
        f"{spec.batch_scans} scans with {spec.slices_per_scan} slices each.",
        f"They learn from a linear head, {first}; stages are thawed {by_stage}. The head "
        "of the model is fitted afterwards, to the features that the trained stages make.",
        f"Pull towards the starting weights (L2-SP): {spec.l2_sp:g}. Moments of "
        f"normalisation: {spec.norm_moments}.",
        f"At most {spec.epochs} epochs; their number is chosen by the inner "
        f"{spec.stop_on.replace('_', ' ')} of {spec.inner_folds} inner folds, each with "
        "thawed stages of its own."
        if spec.patience
        else f"{spec.epochs} epochs, the last one is used.",
    ]


def _course(records: Mapping[Fit, TuningRecord]) -> tuple[Block, ...]:
    return joined(
        Text(text=_finding(records), role="finding"),
        figure(
            "tuning",
            figures.draw_tuning(records),
            "By epoch, a line a fold: loss of the batches that were trained on; log loss and AUC "
            "of patients held out inside training, mean of the inner folds. Dots: the number of "
            "epochs that was chosen.",
            _fit_table(records),
        ),
        how(
            "Inner figures are by the linear head that stages learn from, and of training patients "
            "alone. They choose the number of epochs, so that the best of them is too good; it is "
            "not evidence. Where they worsen while the loss goes on falling, stages learn the "
            "training patients by heart."
        ),
        _moved_figure(records),
    )


def _moved_figure(records: Mapping[Fit, TuningRecord]) -> Figure | None:
    """Return how far each stage moved; nothing where none did, which the finding says."""
    if not any(record.epochs for record in records.values()):
        return None
    return figure(
        "stages-moved",
        figures.draw_moved(records),
        "How far training moved each thawed stage: distance from its start, in percent of the "
        "start's length; bars are means, dots single folds.",
        _moved_table(records),
    )


def _finding(records: Mapping[Fit, TuningRecord]) -> str:
    """Say how long folds trained, what inner patients made of it, and which stage moved most."""
    epochs = sorted(record.epochs for record in records.values())
    if not epochs[-1]:
        return "No fold tuned its stages: on inner folds none of the epochs was a gain."
    span = str(epochs[0]) if epochs[0] == epochs[-1] else f"{epochs[0]} to {epochs[-1]}"
    text = f"Folds trained their stages for {span} epochs"
    if n_untuned := epochs.count(0):
        text += f"; {n_untuned} of {len(epochs)} left them untuned, as inner folds found no gain"
    moved = _mean_moved(records)
    most = max(moved, key=lambda stage: moved[stage])
    return (
        f"{text}. The stage {most.replace('_', ', ')} moved most, by "
        f"{number(100 * moved[most], 2)} percent of its length on average."
    )


def _mean_moved(records: Mapping[Fit, TuningRecord]) -> dict[str, float]:
    stages = next(iter(records.values())).moved
    return {stage: fmean(record.moved[stage] for record in records.values()) for stage in stages}


def _fit_table(records: Mapping[Fit, TuningRecord]) -> Table | None:
    def change(record: TuningRecord, name: str) -> str:
        curve = record.inner_mean("auc" if name == "auc" else "log_loss")
        if len(curve) <= record.epochs:
            return "not recorded"
        return f"{number(curve[0], 3)} to {number(curve[record.epochs], 3)}"

    def loss(record: TuningRecord) -> str:
        if not record.loss:
            return "not trained"
        return f"{number(record.loss[0], 3)} to {number(record.loss[-1], 3)}"

    return table_of(
        records.items(),
        "Training of thawed stages by fold: from the start to the epoch chosen",
        Column("Repeat, fold", lambda item: f"{item[0][0]}, {item[0][1]}"),
        Column("Epochs", lambda item: str(item[1].epochs)),
        Column("Loss, first to last epoch", lambda item: loss(item[1])),
        Column("Inner log loss", lambda item: change(item[1], "log_loss")),
        Column("Inner AUC", lambda item: change(item[1], "auc")),
    )


def _moved_table(records: Mapping[Fit, TuningRecord]) -> Table:
    means = _mean_moved(records)
    rows = []
    for stage, mean in means.items():
        values = [100 * record.moved[stage] for record in records.values()]
        low_and_high = f"{number(min(values), 2)} to {number(max(values), 2)}"
        rows.append(Row(stage.replace("_", ", "), (number(100 * mean, 2), low_and_high)))
    return Table(
        caption="Distance of each stage from its start, in percent of its length",
        columns=("Stage", "Mean", "Range over folds"),
        rows=tuple(rows),
    )
