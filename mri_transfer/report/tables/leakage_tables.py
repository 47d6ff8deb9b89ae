"""The tables of the leakage audit: stress test, identity of slices, duplicates."""

from __future__ import annotations

from typing import get_args

from mri_transfer.evaluation.audit.document import ArmFigures, ArmName, Arms, DuplicatePair, Leakage
from mri_transfer.report.blocks.cells import (
    Column,
    Row,
    Table,
    confidence_text,
    ordered,
    percent,
    stacked,
    table_of,
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

_ARMS: tuple[str, ...] = get_args(ArmName)
_ARM_METRICS = ("slice_accuracy", "slice_auc", "patient_auc", "patient_balanced_accuracy")
#: Pairs that the page lists.
_LISTED = 200
_LABELS = {"true_labels": "true labels", "permuted_labels": "permuted labels"}


def leakage_table(inputs: ReportInputs) -> Table | None:
    """Return the arms of the leakage stress test; None where it was not run."""
    leakage = _leakage(inputs)
    if leakage is None:
        return None
    run = f"; {leakage.n_folds} folds, labels permuted {leakage.n_permutations} times"
    return _arm_table(f"The arms of the stress test, with {confidence_text(inputs)}{run}", leakage)


def accuracy_table(inputs: ReportInputs) -> Table | None:
    """Return the slice accuracy of each arm, as the figure draws it; None where it was not run."""
    arms = _arms(leakage) if (leakage := _leakage(inputs)) else {}
    return table_of(
        ordered(arms, _ARMS),
        "Slice accuracy of the arms",
        Column("Arm", _arm),
        Column("Slice accuracy", lambda key: value_and_interval(arms[key].slice_accuracy)[0]),
        Column(
            confidence_text(inputs), lambda key: value_and_interval(arms[key].slice_accuracy)[1]
        ),
    )


def leakage_sentences(inputs: ReportInputs) -> list[str]:
    """Return what a leaky study would have claimed, and by how much the split inflates."""
    leakage = _leakage(inputs)
    if leakage is None:
        return []
    sentences = [leakage.sentence]
    if leakage.inflation_points is not None:
        span = leakage.inflation
        text = f" ({confidence_text(inputs)} {interval(span, 1)})" if span.interval else ""
        sentences.append(
            f"Inflation: {number(leakage.inflation_points, 1)} points{text} of slice accuracy come "
            "from the split alone."
        )
    return sentences


def inflation_table(inputs: ReportInputs) -> Table | None:
    """Return by how many points leaky splits come out too high; None where it was not run."""
    leakage = _leakage(inputs)
    caption = f"Points above the split by patient, with {confidence_text(inputs)}"
    return None if leakage is None else _inflation_table(caption, leakage)


def permutation_table(inputs: ReportInputs) -> Table | None:
    """Return how often permuted labels reach what true labels do under the split by patient."""
    found = leakage.p_values if (leakage := _leakage(inputs)) else {}
    return table_of(
        ordered(found, _ARM_METRICS),
        "Split by patient: true labels against permuted ones",
        Column("Figure", label_of),
        Column("True labels", lambda name: number(found[name].observed)),
        Column("Permuted, mean", lambda name: number(found[name].permuted_mean)),
        Column(
            "Permutations at least as good",
            lambda name: f"{found[name].n_at_least} of {found[name].n_permutations}",
        ),
        Column("p", lambda name: bare_p(found[name].value)),
    )


def several_scans_tables(inputs: ReportInputs) -> tuple[Table, ...]:
    """Return arms and inflation over the patients with several scans; empty if there are none."""
    found = leakage.several_scans if (leakage := _leakage(inputs)) else None
    if found is None:
        return ()
    whom = f"{found.n_patients} patients with several scans"
    tables = (
        _arm_table(f"The arms over {whom}, with {confidence_text(inputs)}", found),
        _inflation_table(f"Points above the split by patient, over {whom}", found),
    )
    return tuple(table for table in tables if table is not None)


def identity_table(inputs: ReportInputs) -> Table | None:
    """Return how well the features name the patient of a slice; None where not probed."""
    leakage = _leakage(inputs)
    if leakage is None or not leakage.identity.by_gap:
        return None
    found = leakage.identity
    rows = [
        Row(
            f"Slices at least {gap.gap_mm:g}\u00a0mm away",
            (str(gap.n_slices), stacked(gap.top1), stacked(gap.top5), stacked(gap.label_recall)),
        )
        for gap in found.by_gap
    ]
    if found.between_sessions is not None:
        between = found.between_sessions
        cells = ("", stacked(between.top1), stacked(between.top5), "")
        rows.append(Row(f"Other scans of {between.n_patients} patients", cells))
    others = stacked(found.label_of_others)
    rows.append(Row("Slices of other patients", (str(found.n_slices), "", "", others)))
    guess = (percent(found.chance_top1, 1), percent(found.chance_top5, 1))
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
    if inputs.audit is None:
        return None
    found = inputs.audit.duplicates.by_features
    return table_of(
        (
            ("Of different patients", found.different_patients),
            ("Of one patient", found.same_patient),
        ),
        f"Likeness of {found.n_scans} scans by their features (cosine)",
        Column("Pairs of scans", lambda part: part[0]),
        Column("Pairs", lambda part: str(part[1].n)),
        Column("Least", lambda part: _or_no_pair(part[1].min)),
        Column("Median", lambda part: _or_no_pair(part[1].median)),
        Column("99th percentile", lambda part: _or_no_pair(part[1].q99)),
        Column("Most", lambda part: _or_no_pair(part[1].max)),
    )


def similar_pairs(inputs: ReportInputs) -> Table | None:
    """Return the pairs of scans that are listed as alike by their features."""
    if inputs.audit is None:
        return None
    found = inputs.audit.duplicates.by_features
    known = {True: "yes", False: "no", None: "not known"}
    listed = found.pairs[:_LISTED]
    among = ""
    if len(listed) < len(found.pairs):
        among = f" (the first {_LISTED} of {len(found.pairs)}; all: tables/similar_scans.csv)"
    return table_of(
        listed,
        f"Scans as alike as {number(found.threshold, 2)} or more by their features{among}",
        Column("Scans", lambda pair: f"{pair.scan_a} and {pair.scan_b}"),
        Column("Likeness", lambda pair: number(pair.similarity)),
        Column(
            "Patients",
            lambda pair: (
                "one patient" if pair.same_patient else f"{pair.patient_a} and {pair.patient_b}"
            ),
            wide=True,
        ),
        Column("On both sides of a split", lambda pair: known[pair.across_folds]),
        state=lambda pair: "" if pair.same_patient else "failed",
    )


def one_id_two_people(inputs: ReportInputs) -> list[DuplicatePair]:
    """Return the pairs of scans under one patient id that do not look like one brain."""
    pairs = () if inputs.audit is None else inputs.audit.duplicates.pairs
    return [pair for pair in pairs if pair.kind == "sessions that differ"]


def _leakage(inputs: ReportInputs) -> Leakage | None:
    return None if inputs.audit is None else inputs.audit.leakage


def _arm_table(caption: str, found: Arms) -> Table | None:
    arms = _arms(found)

    def figure(name: str) -> Column[str]:
        return Column(label_of(name), lambda key: stacked(getattr(arms[key], name)))

    return table_of(
        ordered(arms, _ARMS),
        caption,
        Column("Arm", _arm),
        *map(figure, _ARM_METRICS),
    )


def _arms(found: Arms) -> dict[str, ArmFigures]:
    return {str(name): figures for name, figures in found.arms.items()}


def _arm(key: str) -> str:
    return key.replace("_split_", "_split,_").replace("_", " ").capitalize()


def _inflation_table(caption: str, found: Arms) -> Table | None:
    splits = found.inflation_by_split
    names = ordered(
        (name for kinds in splits.values() for entry in kinds.values() for name in entry),
        _ARM_METRICS,
    )
    rows = [
        (split, kind) for split, kinds in splits.items() for kind in ordered(kinds, tuple(_LABELS))
    ]

    def figure(name: str) -> Column[tuple[str, str]]:
        def cell(row: tuple[str, str]) -> str:
            found = splits[row[0]][row[1]].get(name)
            return "not defined:\nno reason was given" if found is None else stacked(found, 1)

        return Column(label_of(name), cell)

    return table_of(
        rows,
        caption,
        Column("Split", lambda row: f"{label_of(row[0])}, {_LABELS.get(row[1], row[1])}"),
        *map(figure, names),
    )


def _or_no_pair(value: float | None) -> str:
    return "no pair" if value is None else number(value)
