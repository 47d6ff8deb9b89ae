"""The tables of the leakage audit: stress test, identity of slices, duplicates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mri_transfer.report.blocks.cells import (
    Row,
    Table,
    confidence_text,
    ordered,
    percent,
    stacked,
    value_and_interval,
)
from mri_transfer.report.blocks.wording import bare_p, interval, label_of, number
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "accuracy_table",
    "identity_table",
    "inflation_table",
    "leakage_sentences",
    "leakage_table",
    "likeness_table",
    "one_id_two_people",
    "permutation_table",
    "several_scans_tables",
    "similar_pairs",
]

_ARMS = (
    "patient_split_true_labels",
    "session_split_true_labels",
    "slice_split_true_labels",
    "patient_split_permuted_labels",
    "session_split_permuted_labels",
    "slice_split_permuted_labels",
)
_ARM_METRICS = ("slice_accuracy", "slice_auc", "patient_auc", "patient_balanced_accuracy")
_LABELS = {"true_labels": "true labels", "permuted_labels": "shuffled labels"}


def leakage_table(inputs: ReportInputs) -> Table | None:
    """Return the arms of the leakage stress test; None where it was not run."""
    leakage = _leakage(inputs)
    folds, shuffles = leakage.get("n_folds"), leakage.get("n_permutations")
    run = f"; {folds} folds" if folds else ""
    run += f", labels shuffled {shuffles} times" if shuffles else ""
    caption = f"The arms of the stress test, with {confidence_text(inputs)}{run}"
    return _arm_table(caption, leakage)


def accuracy_table(inputs: ReportInputs) -> Table | None:
    """Return the slice accuracy of each arm, as the figure draws it; None where it was not run."""
    arms = _leakage(inputs).get("arms") or {}
    rows = [
        Row(_arm(key), value_and_interval(arms[key].get("slice_accuracy", {})))
        for key in ordered(arms, _ARMS)
    ]
    columns = ("Arm", "Slice accuracy", confidence_text(inputs))
    caption = "Slice accuracy of the arms"
    return Table(caption=caption, columns=columns, rows=tuple(rows)) if rows else None


def leakage_sentences(inputs: ReportInputs) -> list[str]:
    """Return what a leaky study would have claimed, and by how much the split inflates."""
    leakage = _leakage(inputs)
    sentences = [str(leakage["sentence"])] if leakage.get("sentence") else []
    points = leakage.get("inflation_points")
    if points is not None:
        span = leakage.get("inflation") or {}
        text = ""
        if span.get("ci_low") is not None:
            text = f" ({confidence_text(inputs)} {interval(span, 1)})"
        sentences.append(
            f"Inflation: {number(points, 1)} points{text} of slice accuracy come from the split "
            "alone."
        )
    return sentences


def inflation_table(inputs: ReportInputs) -> Table | None:
    """Return by how many points leaky splits come out too high; None where it was not run."""
    caption = f"Points above the split by patient, with {confidence_text(inputs)}"
    return _inflation_table(caption, _leakage(inputs))


def permutation_table(inputs: ReportInputs) -> Table | None:
    """Return how often shuffled labels reach what true labels do under the split by patient."""
    found = _leakage(inputs).get("p_values") or {}
    rows = [
        Row(
            label_of(name),
            (
                number(found[name]["observed"]),
                number(found[name]["permuted_mean"]),
                f"{found[name]['n_at_least']} of {found[name]['n_permutations']}",
                bare_p(found[name]["value"]),
            ),
        )
        for name in ordered(found, _ARM_METRICS)
    ]
    if not rows:
        return None
    return Table(
        caption="Split by patient: true labels against shuffled ones",
        columns=("Figure", "True labels", "Shuffled, mean", "Shuffles at least as good", "p"),
        rows=tuple(rows),
    )


def several_scans_tables(inputs: ReportInputs) -> tuple[Table, ...]:
    """Return arms and inflation over the patients with several scans; empty if there are none."""
    found = _leakage(inputs).get("several_scans") or {}
    whom = f"{found.get('n_patients')} patients with several scans"
    tables = (
        _arm_table(f"The arms over {whom}, with {confidence_text(inputs)}", found),
        _inflation_table(f"Points above the split by patient, over {whom}", found),
    )
    return tuple(table for table in tables if table is not None)


def identity_table(inputs: ReportInputs) -> Table | None:
    """Return how well the features name the patient of a slice; None where not probed."""
    found = _leakage(inputs).get("identity") or {}
    names = ("top1", "top5", "label_recall")
    rows = [
        Row(
            f"Slices at least {entry['gap_mm']:g}\u00a0mm away",
            (str(entry["n_slices"]), *(stacked(entry[name]) for name in names)),
        )
        for entry in found.get("by_gap") or []
    ]
    if not rows:
        return None
    between = found.get("between_sessions")
    if between:
        cells = ("", stacked(between["top1"]), stacked(between["top5"]), "")
        rows.append(Row(f"Other scans of {between['n_patients']} patients", cells))
    others = stacked(found["label_of_others"])
    rows.append(Row("Slices of other patients", (str(found["n_slices"]), "", "", others)))
    guess = (percent(found["chance_top1"], 1), percent(found["chance_top5"], 1))
    rows.append(Row("Guessing", ("", *guess, ""), state="quiet"))
    return Table(
        caption=f"The nearest slice by features, with {confidence_text(inputs)}",
        columns=(
            "Compared with",
            "Slices",
            "Is of the same patient",
            "Patient among the nearest five",
            "Has the same label",
        ),
        rows=tuple(rows),
    )


def likeness_table(inputs: ReportInputs) -> Table | None:
    """Return how alike scans of different patients and of one patient are by their features."""
    found = _by_features(inputs)
    titles = {"different_patients": "Of different patients", "same_patient": "Of one patient"}
    rows = []
    for key, title in titles.items():
        part = found.get(key)
        if part is not None:
            values = (part[name] for name in ("min", "median", "q99", "max"))
            rows.append(Row(title, (str(part["n"]), *map(_or_no_pair, values))))
    if not rows:
        return None
    return Table(
        caption=f"Likeness of {found['n_scans']} scans by their features (cosine)",
        columns=("Pairs of scans", "Pairs", "Least", "Median", "99th percentile", "Most"),
        rows=tuple(rows),
    )


def similar_pairs(inputs: ReportInputs) -> Table | None:
    """Return the pairs of scans that are listed as alike by their features."""
    found = _by_features(inputs)
    rows = [
        Row(
            f"{pair['scan_a']} and {pair['scan_b']}",
            (
                number(pair["similarity"]),
                "one patient"
                if pair["same_patient"]
                else f"{pair['patient_a']} and {pair['patient_b']}",
                {True: "yes", False: "no", None: "not known"}[pair["across_folds"]],
            ),
            state="" if pair["same_patient"] else "failed",
        )
        for pair in found.get("pairs") or []
    ]
    if not rows:
        return None
    return Table(
        caption=f"Scans as alike as {number(found['threshold'], 2)} or more by their features",
        columns=("Scans", "Likeness", "Patients", "On both sides of a split"),
        rows=tuple(rows),
        wide=("Patients",),
    )


def one_id_two_people(inputs: ReportInputs) -> list[Mapping[str, Any]]:
    """Return the pairs of scans under one patient id that do not look like one brain."""
    pairs = ((inputs.audit or {}).get("duplicates") or {}).get("pairs") or []
    return [pair for pair in pairs if pair.get("kind") == "sessions that differ"]


def _leakage(inputs: ReportInputs) -> Mapping[str, Any]:
    return (inputs.audit or {}).get("leakage") or {}


def _by_features(inputs: ReportInputs) -> Mapping[str, Any]:
    return ((inputs.audit or {}).get("duplicates") or {}).get("by_features") or {}


def _arm_table(caption: str, found: Mapping[str, Any]) -> Table | None:
    arms = found.get("arms") or {}
    if not arms:
        return None
    names = ordered((metric for arm in arms.values() for metric in arm), _ARM_METRICS)
    rows = []
    for key in ordered(arms, _ARMS):
        cells = tuple(stacked(arms[key].get(name, {})) for name in names)
        rows.append(Row(_arm(key), cells))
    return Table(caption=caption, columns=("Arm", *map(label_of, names)), rows=tuple(rows))


def _arm(key: str) -> str:
    words = {"split": "split,", "permuted": "shuffled"}
    return " ".join(words.get(word, word) for word in key.split("_")).capitalize()


def _inflation_table(caption: str, found: Mapping[str, Any]) -> Table | None:
    splits = found.get("inflation_by_split") or {}
    rows = []
    names = ordered(
        (name for kinds in splits.values() for entry in kinds.values() for name in entry),
        _ARM_METRICS,
    )
    for split, kinds in splits.items():
        for kind in ordered(kinds, tuple(_LABELS)):
            cells = tuple(stacked(kinds[kind].get(name, {}), 1) for name in names)
            rows.append(Row(f"{label_of(split)}, {_LABELS.get(kind, kind)}", cells))
    if not rows:
        return None
    return Table(caption=caption, columns=("Split", *map(label_of, names)), rows=tuple(rows))


def _or_no_pair(value: float | None) -> str:
    return "no pair" if value is None else number(value)
