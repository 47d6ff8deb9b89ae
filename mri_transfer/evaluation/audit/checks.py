"""A check of the audit: what was looked for, and what was found against it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

__all__ = ["Check", "Found"]

#: Faults that are listed; the count behind them is always the whole.
_SHOWN = 20

Found = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One check of the audit.

    Attributes
    ----------
    check : str
        Its stable name.
    what : str
        What was looked for, in a sentence.
    expected : str
    found : list of dict
        What contradicts it, the first few; empty where the check passed.
    n_found : int
        How much contradicts it.
    n_checked : int
        How many things were looked at; a check of nothing does not pass.
    """

    check: str
    what: str
    expected: str
    found: list[Found]
    n_found: int
    n_checked: int

    @classmethod
    def of(
        cls, check: str, found: Sequence[Found], *, what: str, expected: str, n_checked: int
    ) -> Check:
        """Return a check of its faults, of which the first few are kept."""
        return cls(
            check=check,
            what=what,
            expected=expected,
            found=list(found[:_SHOWN]),
            n_found=len(found),
            n_checked=n_checked,
        )

    @property
    def passed(self) -> bool:
        """Whether something was looked at, and nothing was found."""
        return self.n_found == 0 and self.n_checked > 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self) | {"passed": self.passed}
