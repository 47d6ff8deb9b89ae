"""Rules: what each score means, and from where on it is a warning or a failure.

The defaults were set on real scans (docs/decisions/0006): every whole scan passes, and every
damaged or turned copy of them fails.
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
    """From where on a score is a warning, and from where on the scan is excluded."""

    keep: tuple[str, ...] = ()
    """Scans (scan_id) that are used whatever their verdict is."""
    information: Limits = (0.40, 0.28)
    """Mutual information with the template, in nats: warning below the first; below the second the
    scan could not be registered."""
    turn_lead: Limits = (0.05, -0.12)
    """Lead of the found orientation over its best rival, in nats of mutual information: warning
    and failure below. The header's orientation is kept down to -0.12."""
    tilt_deg: Limits = (35.0, 60.0)
    """Tilt of the head against the template: warning and failure above."""
    dice: Limits = (0.90, 0.80)
    """Overlap (Dice) of the brain with the template's: warning and failure below."""
    similarity: Limits = (0.35, 0.20)
    """Correlation with the template, young or aged, inside the brain: warning and failure below."""
    coverage: Limits = (0.98, 0.90)
    """Share of the template's brain inside the field of view: warning and failure below."""
    snr: Limits = (5.0, 2.5)
    """Signal to noise in white matter: warning and failure below."""
    cnr: Limits = (0.6, 0.25)
    """Contrast to noise between white and grey matter: warning and failure below."""
    contrast: Limits = (1.08, 1.0)
    """White over grey matter signal; 1 and less is not T1: warning and failure below."""
    brain_litres: Range = (0.7, 0.9, 2.1, 2.5)
    """Size of the brain by the header's voxel size: failure, warning below, warning, failure
    above."""
    stretch: Limits = (1.4, 1.7)
    """Largest over smallest scale of the registration: warning and failure above."""
    spacing_mm: Limits = (2.1, 5.0)
    """Longest edge of a voxel: warning and failure above."""
    grey_levels: Limits = (64.0, 16.0)
    """Distinct grey values in the scan: warning and failure below."""
    holes: Limits = (0.01, 0.04)
    """Share of the deep brain without signal: warning and failure above."""
    cerebellum: Limits = (0.5, 0.0)
    """Share of the cerebellum that shows signal: warning and failure below."""
    fluid_asymmetry_ml: Limits = (25.0, 500.0)
    """Dark volume in one hemisphere beyond that in the other: warning and failure above."""
    background: Limits = (0.2, 1.1)
    """Signal at the edge of the field of view, from the darkest (0) to bright tissue (1): warning
    and failure above."""
    slice_break: Limits = (0.45, 0.25)
    """Lowest correlation of a slice with its neighbours: warning and failure below."""
    cohort_outlier: float = Field(default=5.0, gt=0)
    """Robust z of sharpness, entropy focus and histogram against the cohort: warning above. It
    never excludes a scan: who takes part may not depend on who else does."""

    @model_validator(mode="after")
    def _check(self) -> QualitySpec:
        wrong = [r.name for r in RULES if r.side != "one" and not r.in_order(getattr(self, r.name))]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)}: the limit of failure must lie beyond that of the warning"
            )
        return self


Side = Literal["low", "high", "range", "one"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rule:
    """How one score is read.

    Parameters
    ----------
    name : str
        Column of quality.csv and, where it has thresholds, setting of `QualitySpec`.
    title, unit, meaning : str
        In words.
    side : str
        ``low``: small is bad; ``high``: large is bad; ``range``: both; ``one``: 1 is a failure.
    """

    name: str
    title: str
    unit: str
    meaning: str
    side: Side

    def in_order(self, limits: tuple[float, ...]) -> bool:
        """Tell whether the limits of failure lie beyond those of the warning."""
        return list(limits) == sorted(limits, reverse=self.side == "low")

    def judge(self, value: float | None, spec: QualitySpec) -> tuple[Verdict, str]:
        """Return the verdict on a value and the thresholds in words."""
        if self.side == "one":
            return ("none" if value is None else "fail" if value else "pass"), "no turn"
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
        "could not be registered: what is said of its position means nothing.",
    ),
    Rule(
        name="turned",
        title="orientation",
        unit="",
        side="one",
        meaning="Whether the head's content lies otherwise than the header says: turned by 90 or "
        "180 degrees, upside down or back to front. A left-right mirror image cannot be seen.",
    ),
    Rule(
        name="turn_lead",
        title="certainty of the orientation",
        unit="nats",
        side="low",
        meaning="Mutual information with the template, the orientation found minus its best rival. "
        "Where the two are close, the header's is kept.",
    ),
    Rule(
        name="tilt_deg",
        title="tilt of the head",
        unit="degrees",
        side="high",
        meaning="Rotation between head and template that is left when the orientation is right.",
    ),
    Rule(
        name="dice",
        title="overlap with the template",
        unit="",
        side="low",
        meaning="Dice coefficient of the registered brain mask and the template's.",
    ),
    Rule(
        name="similarity",
        title="likeness to the template",
        unit="",
        side="low",
        meaning="Correlation inside the brain with the signal of the template, or of the same "
        "brain grown old.",
    ),
    Rule(
        name="coverage",
        title="field of view",
        unit="",
        side="low",
        meaning="Share of the template's brain that the scan covers; less than 1 is truncation.",
    ),
    Rule(
        name="snr",
        title="signal to noise",
        unit="",
        side="low",
        meaning="Median over robust standard deviation of sure white matter.",
    ),
    Rule(
        name="cnr",
        title="contrast to noise",
        unit="",
        side="low",
        meaning="White minus grey matter over the noise of both (Magnotta and Friedman 2006).",
    ),
    Rule(
        name="contrast",
        title="T1 contrast",
        unit="",
        side="low",
        meaning="Median of white over that of grey matter; T1 shows white matter brighter.",
    ),
    Rule(
        name="brain_litres",
        title="size of the brain",
        unit="litres",
        side="range",
        meaning="Brain mask's volume by the header's voxel size: a wrong header shows here.",
    ),
    Rule(
        name="stretch",
        title="proportions",
        unit="",
        side="high",
        meaning="Largest over smallest scale of the registration: a wrong slice distance shows "
        "here.",
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
        meaning="Distinct values above the background.",
    ),
    Rule(
        name="holes",
        title="signal loss",
        unit="",
        side="high",
        meaning="Share of voxels deep in the brain, cerebellum apart, that hold no signal.",
    ),
    Rule(
        name="cerebellum",
        title="cerebellum",
        unit="",
        side="low",
        meaning="Share of the cerebellum's place that shows tissue: a cerebellum that was cut away "
        "or masked out shows here.",
    ),
    Rule(
        name="fluid_asymmetry_ml",
        title="fluid on one side",
        unit="ml",
        side="high",
        meaning="Dark volume deep in one hemisphere beyond that in the other: a cavity, an old "
        "infarct or a large cyst shows here.",
    ),
    Rule(
        name="background",
        title="background",
        unit="",
        side="high",
        meaning="Signal at the edge of the field of view, from 0 (the darkest) to 1 (bright "
        "tissue): a background that is not the darkest value shows here.",
    ),
    Rule(
        name="slice_break",
        title="continuity of slices",
        unit="",
        side="low",
        meaning="Lowest correlation of a slice with the mean of those 3 mm before and behind it: a "
        "lost, shifted or noisy slice shows here.",
    ),
)
