"""Which values of the diagnosis are labels, and a refusal of all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mri_transfer.cohorts.mapping.label_rule import same_cell
from mri_transfer.cohorts.readers.bids.tables import Origin
from mri_transfer.cohorts.words import listed
from mri_transfer.errors import Fault

__all__ = ["KnownLabels", "known_labels", "label_of", "unknown_label_faults"]

#: Values of the table, to the label each stands for, or None for one that is no label.
KnownLabels = Mapping[str, str | None]


def known_labels(
    labels: Sequence[str] | Mapping[str, str | None] | None,
) -> KnownLabels | None:
    """Return the labels as a mapping; None if every value counts.

    Parameters
    ----------
    labels : sequence of str or mapping, optional
        ``("AD", "CN")``, or the table's values and what they stand for:
        ``{"Dementia": "AD", "Control": "CN", "MCI": None}``. None or an empty text makes the
        label of such a patient missing.
    """
    if labels is None:
        return None
    if isinstance(labels, str):
        return {labels: labels}
    if isinstance(labels, Mapping):
        return {value: label or None for value, label in labels.items()}
    return {label: label for label in labels}


def label_of(cell: str, known: KnownLabels) -> str | None:
    """Return the label that a cell stands for; None for no label and for an unknown cell."""
    return next((label for value, label in known.items() if same_cell(cell, value)), None)


def unknown_label_faults(
    cells: Sequence[tuple[str, Origin | None]], known: KnownLabels, *, column: str, rows_of: str
) -> Iterator[Fault]:
    """Yield one fault for each value that is no known label, with the rows that hold it.

    Parameters
    ----------
    cells : sequence of (value, origin)
        Every value of the label, and where it was read.
    known : mapping
        From `known_labels`.
    column : str
        The label's column.
    rows_of : str
        The table that a fault's row counts in.
    """
    unknown: dict[str, dict[Origin | None, None]] = {}
    for value, origin in cells:
        if not any(same_cell(value, name) for name in known):
            unknown.setdefault(value, {})[origin] = None
    for value, origins in unknown.items():
        places = [_place(origin) for origin in origins]
        in_rows = [
            origin.line
            for origin in origins
            if origin is not None and origin.table == rows_of and origin.line is not None
        ]
        yield Fault(
            "unknown label",
            row=min(in_rows, default=None),
            column=column,
            found=f"{value!r} in {listed(places, shown=20)}",
            expected=", ".join(known),
            remedy="Correct the table, or say which label the value stands for",
        )


def _place(origin: Origin | None) -> str:
    if origin is None:
        return "the tables"
    return f"{origin.table} row {origin.line}"
