"""Which caveats a reader meets first, and those that only the whole run shows.

The evaluation finds what its figures show (`evaluation.caveats`). Here stands what the audit, the
exclusions and the repeats show, and one table of how grave each caveat is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mri_transfer.evaluation.results import Caveat
from mri_transfer.report.blocks.wording import label_of
from mri_transfer.report.inputs import ReportInputs

__all__ = ["GRAVITY", "rank_caveats", "run_caveats"]

#: Share of the offered scans that were left out from which the rest may be a different group.
MANY_EXCLUDED = 0.1

#: Share of the patients called one way in one repeat and the other way in another.
MANY_UNSTEADY = 0.2

_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Gravity:
    """How much a caveat weighs against the figures: the higher, the earlier it is read.

    Of one `subject` only the gravest stands among the first, so that they are of different things.
    """

    rank: int
    subject: str
    reason: str


#: In five steps: 90 the figures are no result, 70 they may be false, 50 they may be owed to
#: something else, 30 they may be far off or hold nowhere else, 10 mind when using them.
GRAVITY: dict[str, Gravity] = {
    "synthetic_cohort": Gravity(99, "cohort", "Nothing on the page is about patients."),
    "random_trunk": Gravity(97, "trunk", "The run is a control; its figures are no result."),
    "checks_failed": Gravity(95, "leak", "What should prove that nothing leaks does not."),
    "patients_alike": Gravity(
        90, "leak", "A split by patient leaks where two patients are one person."
    ),
    "auc_suspicious": Gravity(80, "leak", "A result too good is a leak until shown otherwise."),
    "not_audited": Gravity(78, "leak", "Leakage was not checked."),
    "guessing_not_excluded": Gravity(75, "answer", "There may be no result at all."),
    "baseline_suspicious": Gravity(
        70, "baseline", "If a covariate encodes the label, comparing with it says nothing."
    ),
    "baseline_not_beaten": Gravity(
        65, "baseline", "Without a gain over what is known anyway the scan is not needed."
    ),
    "age_matched_not_shown": Gravity(
        62,
        "age",
        "The score may reflect age, which needs no scan; at equal age no effect is shown.",
    ),
    "few_of_a_label": Gravity(
        60, "size", "With a handful of patients chance dominates every figure."
    ),
    "wide_interval": Gravity(58, "size", "The main figure itself is known only roughly."),
    "age_difference": Gravity(
        55, "age", "The labels differ in age, so part of the figures may reflect age."
    ),
    "shortcut_possible": Gravity(
        53, "shortcut", "The score may rest on something associated with the label only here."
    ),
    "no_baseline": Gravity(50, "baseline", "What the scan adds cannot be judged."),
    "miscalibrated": Gravity(
        48, "calibration", "Read as a probability, the score misleads, patient by patient."
    ),
    "small_sample": Gravity(45, "size", "Every figure is imprecise; its interval says how much."),
    "image_baseline_not_beaten": Gravity(
        42, "image baseline", "A simpler image feature may suffice; the scan itself still counts."
    ),
    "unsteady_calls": Gravity(40, "repeats", "What a patient is called depends on the split."),
    "single_site": Gravity(38, "elsewhere", "Nothing is known of other sites."),
    "single_scanner": Gravity(36, "elsewhere", "Nothing is known of other scanners."),
    "site_unknown": Gravity(34, "elsewhere", "A dependence on the site cannot be seen here."),
    "many_excluded": Gravity(32, "exclusions", "The figures hold for the scans that were kept."),
    "internal_testing_only": Gravity(
        30, "elsewhere", "True of every cross-validation, and so the least news."
    ),
    "identical_files": Gravity(
        20, "duplicates", "Scans of one patient counted twice widen nothing and add nothing."
    ),
}
#: Of a caveat that this version does not know: it is read, after those that may void the figures.
_UNKNOWN = Gravity(33, "", "Not known to this version.")


def rank_caveats(caveats: Sequence[Caveat]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the texts of the three gravest caveats, of different subjects, and of the others.

    Parameters
    ----------
    caveats : sequence of Caveat

    Returns
    -------
    tuple of (tuple of str, tuple of str)
        Both gravest first; a text that stands twice is kept once.
    """
    gravest = sorted(caveats, key=lambda caveat: -_gravity(caveat).rank)
    texts = list(dict.fromkeys(caveat.text for caveat in gravest))
    first: dict[str, str] = {}
    for caveat in gravest:
        first.setdefault(_gravity(caveat).subject or caveat.code, caveat.text)
    top = tuple(first.values())[:_SHOWN]
    top += tuple(text for text in texts if text not in top)[: _SHOWN - len(top)]
    return tuple(sorted(top, key=texts.index)), tuple(text for text in texts if text not in top)


def run_caveats(inputs: ReportInputs) -> list[Caveat]:
    """Return the caveats that the audit, the exclusions and the repeats give rise to."""
    found = (
        _checks(inputs),
        _alike(inputs),
        _identical(inputs),
        _shortcut(inputs),
        _unsteady(inputs),
        _excluded(inputs),
    )
    return [Caveat(code=code, text=text) for code, text in filter(None, found)]


def _gravity(caveat: Caveat) -> Gravity:
    return GRAVITY.get(caveat.code, _UNKNOWN)


def _checks(inputs: ReportInputs) -> tuple[str, str] | None:
    checks = inputs.checks
    if not checks:
        return "not_audited", (
            "No check of the audit was run: that no patient is on both sides of a split rests on "
            "the software's own account alone."
        )
    failed = [label_of(check.check).lower() for check in checks if not check.passed]
    if not failed:
        return None
    return "checks_failed", (
        f"{len(failed)} of {len(checks)} checks of the audit did not pass ({', '.join(failed)}): "
        "the figures may not mean what they say."
    )


def _alike(inputs: ReportInputs) -> tuple[str, str] | None:
    pairs = () if inputs.audit is None else inputs.audit.duplicates.pairs
    across = sum(bool(pair.across_patients) for pair in pairs)
    if not across:
        return None
    what = "1 pair of scans" if across == 1 else f"{across} pairs of scans"
    return "patients_alike", (
        f"{what} of different patients look like one person. If they are, a patient stands on "
        "both sides of a split."
    )


def _identical(inputs: ReportInputs) -> tuple[str, str] | None:
    pairs = () if inputs.audit is None else inputs.audit.duplicates.identical_files
    if not pairs:
        return None
    what = "1 pair of scans is" if len(pairs) == 1 else f"{len(pairs)} pairs of scans are each"
    return "identical_files", f"{what} the same file: fewer scans were seen than are counted."


def _shortcut(inputs: ReportInputs) -> tuple[str, str] | None:
    """Name the shortcuts that are possible, but age, which has caveats of its own."""
    shortcuts = None if inputs.audit is None else inputs.audit.shortcuts
    entries = () if shortcuts is None else shortcuts.covariates
    names = [
        label_of(entry.covariate).lower()
        for entry in entries
        if entry.verdict in ("possible", "confounded") and entry.covariate != "age"
    ]
    if not names:
        return None
    return "shortcut_possible", (
        f"The model could use {', '.join(names)}, which is associated with the label in this "
        "cohort: part of the score may come from it and may be lost elsewhere."
    )


def _unsteady(inputs: ReportInputs) -> tuple[str, str] | None:
    calls: Any = inputs.patient_scores.groupby("patient_id")["predicted"].nunique()
    if not len(calls) or (calls > 1).mean() < MANY_UNSTEADY:
        return None
    return "unsteady_calls", (
        f"{int((calls > 1).sum())} of {len(calls)} patients are called one way in one repeat and "
        "another way in another: their call depends on which other patients were in training."
    )


def _excluded(inputs: ReportInputs) -> tuple[str, str] | None:
    used, left_out = inputs.evaluation.n_scans, len(inputs.excluded)
    if not used or left_out / (used + left_out) < MANY_EXCLUDED:
        return None
    return "many_excluded", (
        f"{left_out} of {used + left_out} scans were left out. If they differ from the others, "
        "the figures hold for a chosen part of the patients."
    )
