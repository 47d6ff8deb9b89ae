"""A cross-tabulation counts whole patients, and every row adds up."""

from __future__ import annotations

import pytest

from mri_transfer.report.tables.calls import confusion_block, rounding_text, whole_counts


@pytest.mark.parametrize(
    ("row", "counts"),
    [
        ([31 / 3, 5 / 3], (10, 2)),
        ([3.0, 9.0], (3, 9)),
        ([1 / 3, 1 / 3, 1 / 3], (1, 0, 0)),
        ([35 / 3, 1 / 3], (12, 0)),
        ([0.0, 0.0], (0, 0)),
        ([9.5, 2.5], (10, 2)),
    ],
)
def test_means_over_repeats_become_whole_patients_that_add_up(
    row: list[float], counts: tuple[int, ...]
) -> None:
    assert whole_counts(row) == counts
    assert sum(whole_counts(row)) == round(sum(row))


def test_percentages_are_of_the_means_and_a_sentence_says_so() -> None:
    block = confusion_block("Calls", ["CN", "AD"], [[31 / 3, 5 / 3], [0.0, 0.0]])
    assert block.counts == ((10, 2), (0, 0))
    assert block.shares[0] == pytest.approx((31 / 36, 5 / 36))
    assert block.shares[1] == (0.0, 0.0)
    assert "rounded to whole patients" in rounding_text(3)
    assert rounding_text(1) == ""
