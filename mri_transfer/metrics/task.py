"""What a score tells apart: the label whose probability it is, and the other."""

from __future__ import annotations

import dataclasses

from mri_transfer.errors import EvaluationError

__all__ = ["Task"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """The two labels of a study.

    Attributes
    ----------
    positive : str
        The label whose probability the score is, such as AD.
    negative : str
        The label that a low score stands for, such as CN.

    Raises
    ------
    EvaluationError
        If both are the same or one is empty.
    """

    positive: str
    negative: str

    def __post_init__(self) -> None:
        if not self.positive or not self.negative or self.positive == self.negative:
            raise EvaluationError(
                "two different labels are needed",
                found=f"positive {self.positive!r}, negative {self.negative!r}",
            )

    @property
    def labels(self) -> tuple[str, str]:
        """Both, the negative one first, as rows and columns of a confusion matrix stand."""
        return self.negative, self.positive
