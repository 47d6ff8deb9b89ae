"""The tables of a prediction among three classes or more."""

from __future__ import annotations

from mri_transfer.metrics.results import ClassFigures, MacroFigures, OneVsRest
from mri_transfer.report.blocks.cells import Column, Table, confidence_text, stacked, table_of
from mri_transfer.report.blocks.wording import label_of
from mri_transfer.report.inputs import ReportInputs

__all__ = ["class_table", "macro_table"]

_TITLES = {
    "auc_hand_till": "AUC, mean over pairs of classes (Hand and Till)",
    "brier": "Brier score over all classes; 0 is perfect, 2 the worst",
    "log_loss": "Log loss; 0 is perfect",
    "precision": "Precision",
}


def class_table(inputs: ReportInputs) -> Table | None:
    """Return each class against all others; None where two labels were told apart."""
    figures = inputs.evaluation.classes
    if figures is None:
        return None
    return table_of(
        figures.classes,
        f"Each class against the rest, with {confidence_text(inputs)}",
        Column("Class", lambda name: name),
        Column("Patients", lambda name: str(figures.n_patients[name])),
        *(_against_rest(figures, key) for key in OneVsRest.model_fields),
    )


def _against_rest(figures: ClassFigures, key: str) -> Column[str]:
    return Column(_title(key), lambda name: stacked(getattr(figures.one_vs_rest[name], key)))


def macro_table(inputs: ReportInputs) -> Table | None:
    """Return the figures over all classes."""
    figures = inputs.evaluation.classes
    if figures is None:
        return None
    return table_of(
        MacroFigures.model_fields,
        "All classes",
        Column("Over all classes", _title),
        Column(
            f"Value, with {confidence_text(inputs)}",
            lambda name: stacked(getattr(figures.macro, name)),
        ),
    )


def _title(name: str) -> str:
    return _TITLES.get(name, label_of(name))
