"""The tables of the audit's checks, of shortcuts, and of how far scores hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mri_transfer.report.blocks.cells import Row, Table, confidence_text, stacked
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
    "possible": "possible: the features tell it and it goes with the label",
    "readable": "readable: the features tell it, but it hardly goes with the label here",
    "confounded": "confounded: it cannot be told from the label here",
    "not shown": "not shown",
    "unknown": "unknown",
}


def outcome(check: Mapping[str, Any]) -> str:
    """Return what a check found against what it looked for, in words."""
    if check["n_checked"] == 0:
        return "not passed, since there was nothing to look at"
    looked = f"{check['n_checked']} looked at"
    if not check["n_found"]:
        return f"nothing found against it, {looked}"
    return f"{check['n_found']} found against it, {looked}"


def check_table(inputs: ReportInputs) -> Table | None:
    """Return every check of the audit, those that did not pass first; None without an audit."""
    found = (inputs.audit or {}).get("checks") or []
    rows = [
        Row(
            label_of(check["check"]),
            (
                "passed" if check["passed"] else "FAILED",
                str(check["n_checked"]),
                str(check["n_found"]),
                _faults(check),
                str(check["expected"]),
            ),
            note=str(check["what"]),
            state="" if check["passed"] else "failed",
        )
        for check in sorted(found, key=lambda check: bool(check["passed"]))
    ]
    if not rows:
        return None
    return Table(
        caption="Checks of the audit",
        columns=("Check", "Result", "Looked at", "Against it", "Found", "Expected"),
        rows=tuple(rows),
        wide=("Found", "Expected"),
    )


def shortcut_table(inputs: ReportInputs) -> Table | None:
    """Return what else the features tell, covariate by covariate; None where not probed."""
    shortcuts = (inputs.audit or {}).get("shortcuts") or {}
    rows = [_shortcut_row(entry) for entry in shortcuts.get("covariates") or []]
    if not rows:
        return None
    return Table(
        caption=(
            f"What the features tell among patients of one label, with {confidence_text(inputs)} "
            f"({shortcuts['n_permutations']} permutations)"
        ),
        columns=(
            "Covariate",
            "Verdict",
            "Patients",
            "Told by the features",
            "p",
            "Goes with the label",
            "Goes with the score",
        ),
        rows=tuple(rows),
        wide=("Verdict", "Goes with the score"),
    )


def shortcut_sentences(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Return each covariate and the audit's own sentence about it."""
    shortcuts = (inputs.audit or {}).get("shortcuts") or {}
    return [
        (label_of(entry["covariate"]), str(entry["sentence"]))
        for entry in shortcuts.get("covariates") or []
    ]


def retest_table(inputs: ReportInputs) -> Table | None:
    """Return how two scans of one patient agree; None where no patient has two."""
    found = (inputs.audit or {}).get("retest") or {}
    if not found.get("n_patients"):
        return None
    rows = [
        Row(title, (stacked(found[name]),), note=note)
        for name, (title, note) in _RETEST.items()
        if name in found
    ]
    more = f", {found['n_more']} of them with more than two scans" if found.get("n_more") else ""
    return Table(
        caption=f"Two scans of one patient: {found['n_patients']} patients{more}",
        columns=("Measure", f"Value, with {confidence_text(inputs)}"),
        rows=tuple(rows),
    )


def robustness_tables(inputs: ReportInputs) -> tuple[Table, ...]:
    """Return what ranking and scores become when scans are worse; empty where not asked."""
    found: Sequence[Mapping[str, Any]] = (inputs.audit or {}).get("robustness") or []
    if not found:
        return ()
    return tuple(
        Table(
            caption=f"{what} of the same patients with worse scans, with {confidence_text(inputs)}",
            columns=("Perturbation", "Patients", *titles.values()),
            rows=tuple(
                Row(
                    str(entry["name"]),
                    (str(entry["n"]), *(stacked(entry[name]) for name in titles)),
                    note=str(entry.get("note") or ""),
                )
                for entry in found
            ),
        )
        for what, titles in (("Discrimination", _RANKING), ("Scores and calls", _SCORES))
    )


def _faults(check: Mapping[str, Any]) -> str:
    if check["n_checked"] == 0:
        return "there was nothing to look at"
    if not check["n_found"]:
        return "nothing"
    shown = "; ".join(
        ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in fault.items())
        for fault in check["found"][:_FAULTS]
    )
    rest = check["n_found"] - len(check["found"][:_FAULTS])
    more = f"; and {rest} more" if rest > 0 else ""
    return f"{check['n_found']} in all:\n{shown}{more}"


def _shortcut_row(entry: Mapping[str, Any]) -> Row:
    pooled = entry["pooled"]
    main = "r2" if "r2" in pooled else "auc"
    title = "R\u00b2" if main == "r2" else "AUC"
    told = stacked(pooled[main])
    if pooled[main].get("value") is not None:
        told = f"{title} {told}"
    association = entry["label_association"]
    goes = "not defined"
    if association["value"] is not None:
        p = f"; p\u00a0{p_value(association['p'])}" if association["p"] is not None else ""
        goes = f"{number(association['value'], 2)}\n{association['statistic']}{p}"
    p = entry["p"]
    cells = (
        _VERDICTS.get(entry["verdict"], str(entry["verdict"])),
        str(entry["n"]),
        told,
        "not tested" if p is None else bare_p(p),
        goes,
        _score_association(entry.get("score") or {}),
    )
    unknown = entry["verdict"] == "unknown"
    return Row(label_of(entry["covariate"]), cells, state="quiet" if unknown else "")


def _score_association(score: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how the score goes with the covariate among the patients of each label."""
    parts = []
    for label, entry in score.items():
        if "spearman" in entry:
            parts.append(f"{label}: rank correlation {_inline(entry['spearman'])}")
        elif entry.get("mean_score"):
            means = ", ".join(
                f"{level} {_inline(mean)}" for level, mean in entry["mean_score"].items()
            )
            p = f", p\u00a0{p_value(entry['p'])}" if entry.get("p") is not None else ""
            parts.append(f"{label}: mean score {means}{p}")
    return "; ".join(parts) or "not defined"


def _inline(entry: Mapping[str, Any]) -> str:
    value, *span = stacked(entry, 2).split("\n")
    return f"{value} ({span[0]})" if span else value
