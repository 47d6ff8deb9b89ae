"""Who was studied: each group's age, sex and covariates, how they differ, and what is missing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mri_transfer.evaluation.balance import standardised_level_difference
from mri_transfer.evaluation.caveats import standardised_mean_difference
from mri_transfer.report.blocks.cells import Row, Table
from mri_transfer.report.blocks.wording import number
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "as_text",
    "cohort_table",
    "fold_tables",
    "is_number",
    "label_names",
    "mean_and_sd",
    "median_and_quartiles",
    "missing_table",
    "title_of",
]

#: A text column with more different values than this describes scans, not groups of patients.
_MAX_LEVELS = 12
_TITLES = {
    "age": "Age, years",
    "cdr": "CDR",
    "education": "Education",
    "etiv_cm3": "Intracranial volume, cm\u00b3",
    "field_strength": "Field strength",
    "mmse": "MMSE",
    "n_scans": "Scans per patient",
    "nwbv": "Normalised whole-brain volume",
    "scanner": "Scanner",
    "sex": "Sex",
    "site": "Site",
}

Groups = Mapping[str, pd.DataFrame]


def title_of(column: str) -> str:
    """Return a column of the manifest as words."""
    return _TITLES.get(column, column)


def label_names(inputs: ReportInputs) -> tuple[str, ...]:
    """Return the labels of the reference standard: as configured, then any other there is."""
    configured = inputs.settings.labels.classes or inputs.task.labels
    found = set(as_text(inputs.evaluated["label"])) - {""}
    known = list(configured)
    # Of several classes the evaluation joins all but one to "not X", which no patient is called.
    kept = [name for name in known if name in found] or known
    return (*kept, *sorted(found - set(kept)))


def cohort_table(inputs: ReportInputs) -> Table:
    """Return one column a label, one for all evaluated patients, one for those who were not."""
    evaluated = inputs.evaluated
    labels = as_text(evaluated["label"])
    by_label = {name: evaluated[labels == name] for name in label_names(inputs)}
    groups = {"All evaluated": evaluated, **by_label}
    rest = inputs.patients.drop(index=evaluated.index)
    if len(rest):
        groups["Not evaluated"] = rest
    return _table("Who was studied", groups, compared=by_label, covariates=_covariates(inputs))


def fold_tables(inputs: ReportInputs) -> list[Table]:
    """Return for each repeat who was held out by each fold; none where folds are not known."""
    if inputs.folds is None:
        return []
    evaluated = inputs.evaluated.set_axis(inputs.evaluated.index.astype(str))
    tables = []
    for repeat, rows in inputs.folds.groupby("repeat", sort=True):
        groups = {
            f"Fold {fold}": evaluated[evaluated.index.isin(set(members["patient_id"].astype(str)))]
            for fold, members in rows.groupby("fold", sort=True)
        }
        caption = f"Patients held out by each fold, repeat {repeat}"
        covariates = ["label", *_covariates(inputs)]
        tables.append(_table(caption, groups, compared={}, covariates=covariates))
    return tables


def missing_table(inputs: ReportInputs) -> Table:
    """Return how many patients lack each column, by label."""
    evaluated = inputs.evaluated
    labels = as_text(evaluated["label"])
    names = label_names(inputs)
    rows = []
    for column in _covariates(inputs):
        gone = as_text(evaluated[column]) == ""
        cells = [_share(int(gone.sum()), len(gone))]
        cells += [_share(int((gone & (labels == name)).sum()), int((labels == name).sum()))
                  for name in names]  # fmt: skip
        rows.append(Row(title_of(column), tuple(cells), state="" if gone.any() else "quiet"))
    return Table(
        caption="Patients of whom a column of the manifest is not known",
        columns=("Column", "All evaluated", *names),
        rows=tuple(rows),
    )


def mean_and_sd(values: pd.Series[float], digits: int | None = None) -> str:
    """Return '75.1 (7.2)': mean and standard deviation, with digits that suit the spread."""
    present = values.dropna().astype(float)
    if present.empty:
        return "not given"
    digits = _digits(present) if digits is None else digits
    sd = number(float(present.std()), digits) if len(present) > 1 else "\u2013"
    return f"{number(float(present.mean()), digits)} ({sd})"


def median_and_quartiles(values: pd.Series[float], digits: int | None = None) -> str:
    """Return '75.0 [70.0 to 80.5]': median and quartiles, with digits that suit the spread."""
    present = values.dropna().astype(float)
    if present.empty:
        return "not given"
    digits = _digits(present) if digits is None else digits
    low, middle, high = (
        number(float(present.quantile(share)), digits) for share in (0.25, 0.5, 0.75)
    )
    return f"{middle} [{low} to {high}]"


def is_number(values: pd.Series[Any]) -> bool:
    """Whether a column holds numbers, and not levels."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def as_text(values: pd.Series[Any]) -> pd.Series[str]:
    """Return a column as text; what is missing is empty."""
    return values.astype("object").where(values.notna(), "").astype(str)


def _digits(present: pd.Series[float]) -> int:
    """Return how many decimals the spread of some values is worth."""
    spread = float(present.std()) if len(present) > 1 else 0.0
    return 1 if not 0 < spread < 1 else 2 if spread >= 0.1 else 3


def _covariates(inputs: ReportInputs) -> list[str]:
    names = [str(name) for name in inputs.patients.columns if name != "label"]
    return sorted(names, key=lambda name: (name != "age", name != "sex"))


def _table(caption: str, groups: Groups, *, compared: Groups, covariates: list[str]) -> Table:
    """Return a column a group; of those compared also how far they differ."""
    differ = len(compared) > 1
    rows = [("", Row("Patients", tuple(str(len(group)) for group in groups.values())))]
    for name in covariates:
        found = _covariate_rows(name, groups)
        rows += [(name if i == 0 else "", row) for i, row in enumerate(found)]
    columns = ("Characteristic", *groups, *(("Standardised difference",) if differ else ()))
    return Table(
        caption=caption,
        columns=columns,
        rows=tuple(
            Row(row.head, (*row.cells, _difference(name, compared)) if differ else row.cells)
            for name, row in rows
        ),
    )


def _difference(name: str, groups: Groups) -> str:
    """Return the largest standardised difference of two groups; of more than two, of which."""
    if not name:
        return ""
    found = []
    for (first, a), (second, b) in itertools.combinations(reversed(list(groups.items())), 2):
        value = _difference_of(a[name], b[name])
        if value is not None:
            found.append((value, f"{first} and {second}"))
    if not found:
        return "not defined"
    value, between = max(found, key=lambda pair: abs(pair[0]))
    return number(value, 2) + (f"\n{between}" if len(groups) > 2 else "")


def _difference_of(first: pd.Series[Any], second: pd.Series[Any]) -> float | None:
    if is_number(first):
        return standardised_mean_difference(first.astype(float), second.astype(float))
    a, b = ([text for text in as_text(values) if text] for values in (first, second))
    return standardised_level_difference(a, b) if len({*a, *b}) <= _MAX_LEVELS else None


def _covariate_rows(name: str, groups: Groups) -> list[Row]:
    title = title_of(name) if name != "label" else "Label"
    everyone = pd.concat([group[name] for group in groups.values()])
    text = {key: as_text(group[name]) for key, group in groups.items()}
    if as_text(everyone).eq("").all():
        return [Row(title, tuple("not given" for _ in groups))]
    if is_number(everyone):
        # One for all groups: a group in which nothing varies is written like the others.
        digits = _digits(everyone.dropna().astype(float))
        means, medians = (
            tuple(say(group[name], digits) for group in groups.values())
            for say in (mean_and_sd, median_and_quartiles)
        )
        rows = [
            Row(f"{title}: mean (SD)", means),
            Row(f"{title}: median [quartiles]", medians),
        ]
    else:
        levels = sorted(set(as_text(everyone)) - {""})
        if len(levels) > _MAX_LEVELS:
            cells = tuple(f"{values[values != ''].nunique()} values" for values in text.values())
            rows = [Row(title, cells)]
        else:
            rows = [_level_row(title, level, text) for level in levels]
    missing = [int((values == "").sum()) for values in text.values()]
    if any(missing):
        rows.append(Row(f"{title}: missing", tuple(map(str, missing))))
    return rows


def _level_row(title: str, level: str, text: Mapping[str, pd.Series[str]]) -> Row:
    cells = tuple(
        _share(int((values == level).sum()), int((values != "").sum())) for values in text.values()
    )
    return Row(f"{title}: {level}", cells)


def _share(hits: int, given: int) -> str:
    return f"{hits} ({100 * hits / given:.0f}\u00a0%)" if given else "0"
