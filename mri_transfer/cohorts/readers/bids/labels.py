"""Known labels: which values of the diagnosis are accepted; others are faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mri_transfer.cohorts.mapping.label_rule import same_cell
from mri_transfer.cohorts.readers.bids.tables import Origin
from mri_transfer.cohorts.words import listed
from mri_transfer.errors import Fault

__all__ = ["KnownLabels", "known_labels", "label_of", "unknown_label_faults"]

#: The label of each value in the table, or None for values without a label.
KnownLabels = Mapping[str, str | None]


def known_labels(
    labels: Sequence[str] | Mapping[str, str | None] | None,
) -> KnownLabels | None:
    """Return the labels as a mapping; None if every value is a label.

    Parameters
    ----------
    labels : sequence of str or mapping, optional
        ``("AD", "CN")``, or the label of each value in the table:
        ``{"Dementia": "AD", "Control": "CN", "MCI": None}``. None or an empty string makes the
        label missing.
    """
    if labels is None:
        return None
    if isinstance(labels, str):
        return {labels: labels}
    if isinstance(labels, Mapping):
        return {value: label or None for value, label in labels.items()}
    return {label: label for label in labels}


def label_of(cell: str, known: KnownLabels) -> str | None:
    """Return the label of a cell; None for no label or an unknown value."""
    return next((label for value, label in known.items() if same_cell(cell, value)), None)


def unknown_label_faults(
    cells: Sequence[tuple[str, Origin | None]], known: KnownLabels, *, column: str, rows_of: str
) -> Iterator[Fault]:
    """Yield one fault for each value that is not a known label, with its rows.

    Parameters
    ----------
    cells : sequence of (value, origin)
        Each value of the label, and where it was read.
    known : mapping
        From `known_labels`.
    column : str
        The label's column.
    rows_of : str
        The table that a fault's row number refers to.
    """
    unknown: dict[str, dict[Origin | None, None]] = {}
    for value, origin in cells:
        if not any(same_cell(value, name) for name in known):
            unknown.setdefault(value, {})[origin] = None
    for value, origins in unknown.items():
        rows = [_row_name(origin) for origin in origins]
        in_rows = [
            origin.line
            for origin in origins
            if origin is not None and origin.table == rows_of and origin.line is not None
        ]
        yield Fault(
            "unknown label",
            row=min(in_rows, default=None),
            column=column,
            found=f"{value!r} in {listed(rows, shown=20)}",
            expected=", ".join(known),
            remedy="Correct the table, or map the value to a label",
        )


def _row_name(origin: Origin | None) -> str:
    if origin is None:
        return "the tables"
    return f"{origin.table} row {origin.line}"
