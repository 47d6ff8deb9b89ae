"""Kinds of estimates: what a figure may be, and what stands beside its interval."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.dataclasses import dataclass
from pydantic_core import core_schema
from typing_extensions import TypeAliasType

from mri_transfer.core.documents import PValue
from mri_transfer.metrics.intervals import ESTIMATE, Estimate

__all__ = [
    "AtMostOne",
    "ConfusionMatrix",
    "Correlation",
    "Difference",
    "DifferenceWithP",
    "FoldDifference",
    "NonNegative",
    "Points",
    "Proportion",
    "TestedDifference",
    "TestedFoldDifference",
    "untested_difference",
    "untested_fold_difference",
]


#: A number this little beyond its limit got there by rounding.
_ROUNDING = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Within:
    """Limits of an estimate's value, and of its interval if `whole`, checked and in the schema."""

    low: float | None
    high: float | None
    whole: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return ("value", "ci_low", "ci_high") if self.whole else ("value",)

    def check(self, estimate: Estimate) -> Estimate:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        mended: dict[str, float] = {}
        for name in self.names:
            number = getattr(estimate, name)
            if number is None or low <= number <= high:
                continue
            if not low - _ROUNDING <= number <= high + _ROUNDING:
                raise ValueError(f"{name} must lie between {low} and {high}, found {number}")
            mended[name] = min(max(number, low), high)
        changes: Any = mended
        return dataclasses.replace(estimate, **changes) if mended else estimate

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        ends = (("minimum", self.low), ("maximum", self.high))
        limits = {name: end for name, end in ends if end is not None}
        return {**handler(schema), "properties": {name: dict(limits) for name in self.names}}


#: Between 0 and 1, the interval too.
Proportion = TypeAliasType(
    "Proportion", Annotated[Estimate, _Within(low=0.0, high=1.0, whole=True)]
)
#: 0 or more, the interval too; the value is None where a ratio is infinite.
NonNegative = TypeAliasType(
    "NonNegative", Annotated[Estimate, _Within(low=0.0, high=None, whole=True)]
)
#: A difference of two figures between 0 and 1.
Difference = TypeAliasType("Difference", Annotated[Estimate, _Within(low=-1.0, high=1.0)])
#: A difference in points: 100 are the whole range.
Points = TypeAliasType("Points", Annotated[Estimate, _Within(low=-100.0, high=100.0)])
Correlation = TypeAliasType("Correlation", Annotated[Estimate, _Within(low=-1.0, high=1.0)])
#: 1 or less; may be negative.
AtMostOne = TypeAliasType("AtMostOne", Annotated[Estimate, _Within(low=None, high=1.0)])

_Pair = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=2, max_length=2)]
ConfusionMatrix = Annotated[
    tuple[_Pair, ...],
    Field(
        min_length=2,
        max_length=2,
        description="Patients averaged over repeats, [[true negatives, false positives], [false "
        "negatives, true positives]]: one row a reference label, the negative one first.",
    ),
]


@dataclass(frozen=True, kw_only=True, config=ESTIMATE)
class DifferenceWithP(Estimate):
    """A difference, with a p value of no difference."""

    p: PValue
    """Two-sided p value of no difference; null where undefined."""


@dataclass(frozen=True, kw_only=True, config=ESTIMATE)
class FoldDifference(Estimate):
    """A mean difference over folds, with its t test."""

    t: float | None
    """Statistic of the corrected resampled t test; null where undefined."""
    df: Annotated[int, Field(ge=0)] | None
    """Its degrees of freedom: folds minus one; null where undefined."""
    p: PValue
    """Two-sided p value of no difference; null where undefined."""


#: A difference of two figures between 0 and 1 with a p value, or with its t test over folds.
TestedDifference = TypeAliasType(
    "TestedDifference", Annotated[DifferenceWithP, _Within(low=-1.0, high=1.0)]
)
TestedFoldDifference = TypeAliasType(
    "TestedFoldDifference", Annotated[FoldDifference, _Within(low=-1.0, high=1.0)]
)


def untested_difference(
    reason: str, *, n: float, value: float | None = None, method: str = "none"
) -> DifferenceWithP:
    """Return a difference without interval and p value, or without any value."""
    return DifferenceWithP(
        value=value, ci_low=None, ci_high=None, n=n, method=method, reason=reason, p=None
    )


def untested_fold_difference(
    reason: str,
    *,
    n: float,
    value: float | None = None,
    df: int | None = None,
    method: str = "none",
) -> FoldDifference:
    """Return a difference over folds without interval and test, or without any value."""
    bare = untested_difference(reason, n=n, value=value, method=method)
    return FoldDifference(**dataclasses.asdict(bare), t=None, df=df)
