"""Rules: the meaning of each score, and its thresholds for a warning and a failure.

The defaults were set on real scans (docs/decisions/0006): every complete scan passes, and every
damaged or rotated copy fails.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.scans.quality.verdicts import Verdict

__all__ = ["RULES", "QualitySpec", "Rule"]

Limits = tuple[float, float]
Range = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class QualitySpec:
    """Thresholds of each score for a warning and for exclusion of the scan."""

    keep: tuple[str, ...] = ()
    """Scans (scan_id) to use whatever their verdict."""
    information: Limits = (0.40, 0.28)
    """Mutual information with the template, in nats: warning below the first; below the second the
    scan could not be registered."""
    turn_lead: Limits = (0.05, -0.12)
    """Margin of the selected orientation over the second best, in nats of mutual information:
    warning and failure below. The header's orientation is kept down to -0.12."""
    tilt_deg: Limits = (35.0, 60.0)
    """Tilt of the head relative to the template: warning and failure above."""
    dice: Limits = (0.90, 0.80)
    """Overlap (Dice) of the brain with the template's: warning and failure below."""
    similarity: Limits = (0.35, 0.20)
    """Correlation with the template, young or aged, inside the brain: warning and failure below."""
    coverage: Limits = (0.98, 0.90)
    """Fraction of the template's brain in the field of view: warning and failure below."""
    snr: Limits = (5.0, 2.5)
    """Signal-to-noise ratio in white matter: warning and failure below."""
    cnr: Limits = (0.6, 0.25)
    """Contrast-to-noise ratio of white and grey matter: warning and failure below."""
    contrast: Limits = (1.08, 1.0)
    """Ratio of white to grey matter signal; 1 or less is not T1: warning and failure below."""
    brain_litres: Range = (0.7, 0.9, 2.1, 2.5)
    """Brain volume by the header's voxel size: failure below, warning below, warning above,
    failure above."""
    stretch: Limits = (1.4, 1.7)
    """Ratio of the largest to the smallest scale of the registration: warning and failure above."""
    spacing_mm: Limits = (2.1, 5.0)
    """Longest edge of a voxel: warning and failure above."""
    grey_levels: Limits = (64.0, 16.0)
    """Number of distinct grey values in the scan: warning and failure below."""
    holes: Limits = (0.01, 0.04)
    """Fraction of the deep brain without signal: warning and failure above."""
    cerebellum: Limits = (0.5, 0.0)
    """Fraction of the cerebellum with signal: warning and failure below."""
    fluid_asymmetry_ml: Limits = (25.0, 500.0)
    """Difference in dark volume between the hemispheres: warning and failure above."""
    background: Limits = (0.2, 1.1)
    """Signal at the edge of the field of view, from the darkest (0) to bright tissue (1): warning
    and failure above."""
    slice_break: Limits = (0.45, 0.25)
    """Lowest correlation of a slice with its neighbours: warning and failure below."""
    cohort_outlier: float = Field(default=5.0, gt=0)
    """Robust z of sharpness, entropy focus and histogram in the cohort: warning above. It never
    excludes a scan: inclusion must not depend on other scans."""

    @model_validator(mode="after")
    def _check(self) -> QualitySpec:
        wrong = [r.name for r in RULES if r.side != "one" and not r.in_order(getattr(self, r.name))]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)}: the limit for failure must be beyond the one for warning"
            )
        return self


Side = Literal["low", "high", "range", "one"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """How one score is judged.

    Parameters
    ----------
    name : str
        Column of quality.csv and, if it has thresholds, setting of `QualitySpec`.
    title, unit, meaning : str
        Text for the report.
    side : str
        ``low``: small is bad; ``high``: large is bad; ``range``: both; ``one``: 1 is a failure.
    """

    name: str
    title: str
    unit: str
    meaning: str
    side: Side

    def in_order(self, limits: tuple[float, ...]) -> bool:
        """Return whether the limits for failure are beyond those for a warning."""
        return list(limits) == sorted(limits, reverse=self.side == "low")

    def judge(self, value: float | None, spec: QualitySpec) -> tuple[Verdict, str]:
        """Return the verdict on a value, and the thresholds as text."""
        if self.side == "one":
            return ("none" if value is None else "fail" if value else "pass"), "no rotation"
        limits = getattr(spec, self.name)
        if self.side == "range":
            low_fail, low_warn, high_warn, high_fail = limits
            words = f"{low_warn:g} to {high_warn:g}; failure outside {low_fail:g} to {high_fail:g}"
            bad, poor = (
                value is not None and not low <= value <= high
                for low, high in ((low_fail, high_fail), (low_warn, high_warn))
            )
        else:
            warn, fail = limits
            below = self.side == "low"
            words = f"at {'least' if below else 'most'} {warn:g}; failure " + (
                f"below {fail:g}" if below else f"above {fail:g}"
            )
            bad, poor = (
                value is not None and (value < limit if below else value > limit)
                for limit in (fail, warn)
            )
        if value is None:
            return "none", words
        return ("fail" if bad else "warn" if poor else "pass"), words


#: Every score that is judged, in the order of the table.
RULES: tuple[Rule, ...] = (
    Rule(
        name="information",
        title="registration",
        unit="nats",
        side="low",
        meaning="Mutual information with the template after registration. A scan that fails here "
        "could not be registered, and the scores of its position are meaningless.",
    ),
    Rule(
        name="turned",
        title="orientation",
        unit="",
        side="one",
        meaning="Whether the image content disagrees with the header's orientation: rotated by 90 "
        "or 180 degrees, upside down or back to front. A left-right flip cannot be detected.",
    ),
    Rule(
        name="turn_lead",
        title="orientation margin",
        unit="nats",
        side="low",
        meaning="Difference in mutual information with the template between the best and the "
        "second best orientation. If it is small, the header's orientation is kept.",
    ),
    Rule(
        name="tilt_deg",
        title="head tilt",
        unit="degrees",
        side="high",
        meaning="Rotation between head and template that remains with the correct orientation.",
    ),
    Rule(
        name="dice",
        title="overlap with the template",
        unit="",
        side="low",
        meaning="Dice coefficient of the registered brain mask with the template's.",
    ),
    Rule(
        name="similarity",
        title="similarity to the template",
        unit="",
        side="low",
        meaning="Correlation inside the brain with the template or the aged template.",
    ),
    Rule(
        name="coverage",
        title="field of view",
        unit="",
        side="low",
        meaning="Fraction of the template's brain that the scan covers; less than 1 is truncation.",
    ),
    Rule(
        name="snr",
        title="signal-to-noise ratio",
        unit="",
        side="low",
        meaning="Median divided by the robust standard deviation of certain white matter.",
    ),
    Rule(
        name="cnr",
        title="contrast-to-noise ratio",
        unit="",
        side="low",
        meaning="White minus grey matter signal, divided by the noise of both (Magnotta and "
        "Friedman 2006).",
    ),
    Rule(
        name="contrast",
        title="T1 contrast",
        unit="",
        side="low",
        meaning="Median of white matter divided by that of grey matter; white matter is brighter "
        "in T1.",
    ),
    Rule(
        name="brain_litres",
        title="brain volume",
        unit="litres",
        side="range",
        meaning="Volume of the brain mask by the header's voxel size; detects a wrong header.",
    ),
    Rule(
        name="stretch",
        title="proportions",
        unit="",
        side="high",
        meaning="Ratio of the largest to the smallest scale of the registration; detects a wrong "
        "slice distance.",
    ),
    Rule(
        name="spacing_mm",
        title="resolution",
        unit="mm",
        side="high",
        meaning="Longest edge of the scan's voxels.",
    ),
    Rule(
        name="grey_levels",
        title="grey levels",
        unit="",
        side="low",
        meaning="Number of distinct values above the background.",
    ),
    Rule(
        name="holes",
        title="signal loss",
        unit="",
        side="high",
        meaning="Fraction of voxels deep in the brain, outside the cerebellum, without signal.",
    ),
    Rule(
        name="cerebellum",
        title="cerebellum",
        unit="",
        side="low",
        meaning="Fraction of the cerebellum region with tissue; detects a cerebellum that was cut "
        "off or masked out.",
    ),
    Rule(
        name="fluid_asymmetry_ml",
        title="fluid asymmetry",
        unit="ml",
        side="high",
        meaning="Difference in dark volume between the hemispheres, deep in the brain; detects a "
        "cavity, an old infarct or a large cyst.",
    ),
    Rule(
        name="background",
        title="background",
        unit="",
        side="high",
        meaning="Signal at the edge of the field of view, from 0 (the darkest) to 1 (bright "
        "tissue); detects a background that is not the darkest value.",
    ),
    Rule(
        name="slice_break",
        title="slice continuity",
        unit="",
        side="low",
        meaning="Lowest correlation of a slice with the mean of those 3 mm on either side; detects "
        "a lost, shifted or noisy slice.",
    ),
)
