"""A check of the audit: what was looked for, and what was found against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, JsonValue

from mri_transfer.core.documents import Count, Part

__all__ = ["CheckResult", "Fault"]

#: Faults that are listed; the count behind them is always the whole.
_SHOWN = 20

#: What contradicts a check: where, and what.
Fault = dict[str, Any]


class CheckResult(Part):
    """One check of the run."""

    check: Annotated[str, Field(pattern="^[a-z_]+$")]
    """Stable name of the check."""
    passed: bool
    """Whether something was looked at and nothing was found against it."""
    what: str
    """What was looked for."""
    expected: str
    """What should be so."""
    found: tuple[dict[str, JsonValue], ...]
    """What contradicts it, the first few: where, and what; the names depend on the check. Empty
    where nothing does."""
    n_found: Count
    """How much contradicts it, in all."""
    n_checked: Count
    """How many things were looked at; a check of nothing does not pass."""

    @classmethod
    def of(
        cls, check: str, faults: Sequence[Fault], *, what: str, expected: str, n_checked: int
    ) -> CheckResult:
        """Return a check of its faults, of which the first few are kept."""
        return cls(
            check=check,
            passed=not faults and n_checked > 0,
            what=what,
            expected=expected,
            found=tuple(faults[:_SHOWN]),
            n_found=len(faults),
            n_checked=n_checked,
        )
