"""Calls against the reference standard, in whole patients."""

from __future__ import annotations

from collections.abc import Sequence

from mri_transfer.report.blocks.document import Confusion

__all__ = ["confusion_block", "rounding_text", "whole_counts"]


def confusion_block(
    caption: str, labels: Sequence[str], matrix: Sequence[Sequence[float]]
) -> Confusion:
    """Return a cross-tabulation; means over repeats become whole patients.

    Parameters
    ----------
    caption : str
    labels : sequence of str
    matrix : sequence of sequence of float
        A row per label, a column per call: patients, or their mean over repeats.
    """
    return Confusion(
        caption=caption,
        labels=tuple(labels),
        counts=tuple(whole_counts(row) for row in matrix),
        shares=tuple(tuple(n / (sum(row) or 1.0) for n in row) for row in matrix),
    )


def whole_counts(row: Sequence[float]) -> tuple[int, ...]:
    """Round counts so that they add up to their rounded sum (largest remainders).

    Parameters
    ----------
    row : sequence of float
    """
    # Means over repeats are thirds and the like: what is below this is rounding.
    exact = [round(n, 6) for n in row]
    counts = [int(n) for n in exact]
    order = sorted(range(len(row)), key=lambda i: counts[i] - exact[i])
    for i in order[: round(sum(exact)) - sum(counts)]:
        counts[i] += 1
    return tuple(counts)


def rounding_text(n_repeats: int) -> str:
    """Return what was done to the counts of several repeats; empty where nothing was."""
    if n_repeats < 2:
        return ""
    return (
        f"Every patient is called once in each of {n_repeats} repeats. Counts are the mean of the "
        "repeats, rounded to whole patients so that each row adds up; percentages are of the mean "
        "before rounding, as are sensitivity and specificity."
    )
