"""Notice: what must be read before a figure or a prediction is used, the same wherever it is shown.

JSON files hold notices under `warnings`; pages, prints, tables and terminals render that list.
"""

from __future__ import annotations

import dataclasses

from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT

__all__ = ["Notice", "study_notices"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Notice:
    """A warning."""

    code: str
    """Stable name for machines."""
    title: str
    """Two or three words with a full stop."""
    text: str
    """What it means, in a sentence or two."""

    def __str__(self) -> str:
        return f"{self.title} {self.text}"

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON values."""
        return dataclasses.asdict(self)


def study_notices(
    *, synthetic: bool, trunk_weights: str, moments_adapted: bool = False
) -> tuple[Notice, ...]:
    """Return what makes a study no study of patients.

    Parameters
    ----------
    synthetic : bool
        Whether any of its patients was made by software.
    trunk_weights : str
        As `TrunkSpec.weights`.
    moments_adapted : bool
        Whether unlabelled scans of those who are tested gave the trunk its moments.
    """
    notices = []
    if synthetic:
        notices.append(
            Notice(
                code="synthetic_cohort",
                title="Synthetic cohort.",
                text="Patients were made by software. What is shown here says that the software "
                "works, and nothing about patients.",
            )
        )
    if trunk_weights == "random":
        notices.append(
            Notice(
                code="random_trunk",
                title="Untrained trunk.",
                text="Random weights stand in place of pretrained ones: a control, not a result.",
            )
        )
    if moments_adapted:
        notices.append(
            Notice(
                code="transductive_moments",
                title="Adapted to these scans.",
                text="Moments of the trunk's batch normalisation are those of this cohort's own "
                "scans, without labels (transductive). The figures are not of the bundle as it is, "
                "nor of a scan that is scored alone.",
            )
        )
    return tuple(notices)
