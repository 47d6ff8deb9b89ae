"""The tables of the audit's checks, of shortcuts, and of how far scores hold."""

from __future__ import annotations

from collections.abc import Mapping

from mri_transfer.evaluation.audit.document import CheckResult
from mri_transfer.evaluation.audit.shortcut_results import (
    AgeAndScore,
    LevelsAndScore,
    ShortcutProbe,
)
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.report.blocks.cells import (
    Column,
    Table,
    confidence_text,
    figure_column,
    stacked,
    table_of,
)
from mri_transfer.report.blocks.wording import bare_p, label_of, number, p_value
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "check_table",
    "outcome",
    "retest_table",
    "robustness_tables",
    "shortcut_sentences",
    "shortcut_table",
]

#: Faults of a check that a reader is shown; the file of the audit lists more.
_FAULTS = 5
_RETEST = {
    "icc": ("Agreement, ICC(2,1)", "1 is perfect; a shift between sessions counts against it"),
    "icc_one_way": ("Agreement, ICC(1,1)", "sessions have no order"),
    "mean_difference": ("Second minus first score", "mean over patients"),
    "lower_limit": ("Lower limit of agreement", "95 % of the differences are expected above it"),
    "upper_limit": ("Upper limit of agreement", "and below this one"),
    "mean_absolute_difference": ("Absolute difference", "mean over patients"),
    "flip_rate": ("Called differently", "share of the patients"),
}
_RANKING = {
    "auc_clean": "AUC, scans as they are",
    "auc": "AUC, perturbed",
    "auc_change": "Change of the AUC",
    "balanced_accuracy_clean": "Balanced accuracy, as they are",
    "balanced_accuracy": "Balanced accuracy, perturbed",
}
_SCORES = {
    "flip_rate": "Calls that change",
    "score_change": "Change of the score, absolute",
    "score_shift": "Change of the score, signed",
}
_VERDICTS = {
    "possible": "possible: the features predict it and it is associated with the label",
    "readable": "readable: the features predict it, hardly associated with the label here",
    "confounded": "confounded: it cannot be separated from the label here",
    "not shown": "not shown",
    "unknown": "unknown",
}


def outcome(check: CheckResult) -> str:
    """Return how many violations a check found, in words."""
    if check.n_checked == 0:
        return "not passed: there was nothing to check"
    count = str(check.n_found or "no")
    violations = f"{count} violation{'s' if check.n_found > 1 else ''}"
    return f"{violations} found, {check.n_checked} checked"


def check_table(inputs: ReportInputs) -> Table | None:
    """Return every check of the audit, those that did not pass first; None without an audit."""
    return table_of(
        sorted(inputs.checks, key=lambda check: check.passed),
        "Checks of the audit",
        Column("Check", lambda check: label_of(check.check)),
        Column("Result", lambda check: "passed" if check.passed else "FAILED"),
        Column("Checked", lambda check: str(check.n_checked)),
        Column("Violations", lambda check: str(check.n_found)),
        Column("Found", _faults, wide=True),
        Column("Expected", lambda check: check.expected, wide=True),
        note=lambda check: check.what,
        state=lambda check: "" if check.passed else "failed",
    )


def shortcut_table(inputs: ReportInputs) -> Table | None:
    """Return what else the features predict, covariate by covariate; None where not probed."""
    shortcuts = inputs.audit.shortcuts if inputs.audit is not None else None
    if shortcuts is None:
        return None
    return table_of(
        shortcuts.covariates,
        f"What the features predict among patients of one label, with {confidence_text(inputs)} "
        f"({shortcuts.n_permutations} permutations)",
        Column("Covariate", lambda probe: label_of(probe.covariate)),
        Column("Verdict", lambda probe: _VERDICTS[probe.verdict], wide=True),
        Column("Patients", _patients),
        Column("Predicted from the features", _predicted),
        Column("p", lambda probe: "not tested" if probe.p is None else bare_p(probe.p)),
        Column("Association with the label", _label_association),
        Column(
            "Association with the score", lambda probe: _score_association(probe.score), wide=True
        ),
        state=lambda probe: "quiet" if probe.verdict == "unknown" else "",
    )


def shortcut_sentences(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Return each covariate and the audit's own sentence about it."""
    shortcuts = inputs.audit.shortcuts if inputs.audit is not None else None
    if shortcuts is None:
        return []
    return [(label_of(probe.covariate), probe.sentence) for probe in shortcuts.covariates]


def retest_table(inputs: ReportInputs) -> Table | None:
    """Return how two scans of one patient agree; None where no patient has two."""
    found = inputs.audit.retest if inputs.audit is not None else None
    if found is None or not found.n_patients:
        return None
    more = f", {found.n_more} of them with more than two scans" if found.n_more else ""
    return table_of(
        _RETEST,
        f"Two scans of one patient: {found.n_patients} patients{more}",
        Column("Measure", lambda name: _RETEST[name][0]),
        Column(
            f"Value, with {confidence_text(inputs)}", lambda name: stacked(getattr(found, name))
        ),
        note=lambda name: _RETEST[name][1],
    )


def robustness_tables(inputs: ReportInputs) -> tuple[Table, ...]:
    """Return what ranking and scores become when scans are degraded; empty where not asked."""
    found = inputs.audit.robustness if inputs.audit is not None else None
    tables = (
        table_of(
            found or (),
            f"{what} of the same patients with degraded scans, with {confidence_text(inputs)}",
            Column("Perturbation", lambda effect: effect.name),
            Column("Patients", lambda effect: str(effect.n)),
            *(figure_column(title, name) for name, title in titles.items()),
            note=lambda effect: effect.note or "",
        )
        for what, titles in (("Discrimination", _RANKING), ("Scores and calls", _SCORES))
    )
    return tuple(table for table in tables if table is not None)


def _faults(check: CheckResult) -> str:
    if check.n_checked == 0:
        return "there was nothing to check"
    if not check.n_found:
        return "nothing"
    shown = "; ".join(
        ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in fault.items())
        for fault in check.found[:_FAULTS]
    )
    rest = check.n_found - len(check.found[:_FAULTS])
    more = f"; and {rest} more" if rest > 0 else ""
    return f"{check.n_found} in all:\n{shown}{more}"


def _patients(probe: ShortcutProbe) -> str:
    probed = sum(part.n for part in probe.within.values())
    return str(probe.n) if probed == probe.n else f"{probe.n}, {probed} of them probed"


def _predicted(probe: ShortcutProbe) -> str:
    title, found = ("R\u00b2", probe.pooled.r2) if probe.pooled.r2 else ("AUC", probe.pooled.auc)
    if found is None:
        return "not defined"
    return stacked(found) if found.value is None else f"{title} {stacked(found)}"


def _label_association(probe: ShortcutProbe) -> str:
    association = probe.label_association
    if association.value is None:
        return "not defined"
    p = f"; p\u00a0{p_value(association.p)}" if association.p is not None else ""
    return f"{number(association.value, 2)}\n{association.statistic}{p}"


def _score_association(score: Mapping[str, AgeAndScore | LevelsAndScore]) -> str:
    """Return how the score is associated with the covariate among the patients of each label."""
    parts = []
    for label, entry in score.items():
        if isinstance(entry, AgeAndScore):
            parts.append(f"{label}: rank correlation {_inline(entry.spearman)}")
        elif entry.mean_score:
            means = ", ".join(
                f"{level} {_inline(mean)}" for level, mean in entry.mean_score.items()
            )
            p = f", p\u00a0{p_value(entry.p)}" if entry.p is not None else ""
            parts.append(f"{label}: mean score {means}{p}")
    return "; ".join(parts) or "not defined"


def _inline(entry: Estimate) -> str:
    value, *span = stacked(entry, 2).split("\n")
    return f"{value} ({span[0]})" if span else value
