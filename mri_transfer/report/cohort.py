"""The table of who was studied: each label's age, sex and covariates, and what is missing."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mri_transfer.report.cells import Row, Table
from mri_transfer.report.model import ReportInputs
from mri_transfer.report.wording import number

__all__ = ["cohort_table", "mean_and_sd"]

#: A text column with more different values than this describes scans, not groups of patients.
_MAX_LEVELS = 12
_TITLES = {
    "age": "Age, years",
    "n_scans": "Scans per patient",
    "scanner": "Scanner",
    "sex": "Sex",
    "site": "Site",
}


def cohort_table(inputs: ReportInputs) -> Table:
    """Return one column a label, one for all evaluated patients, one for those who were not."""
    evaluated = inputs.evaluated
    groups = {"All evaluated": evaluated}
    for name in inputs.labels:
        groups[name] = evaluated[evaluated["label"] == name]
    rest = inputs.patients.drop(index=evaluated.index)
    if len(rest):
        groups["Not evaluated"] = rest
    rows = [Row("Patients", tuple(str(len(group)) for group in groups.values()))]
    covariates = [str(name) for name in inputs.patients.columns if name != "label"]
    for name in sorted(covariates, key=lambda name: (name != "age", name != "sex")):
        rows += _covariate_rows(name, groups)
    return Table(caption="Who was studied", columns=("Characteristic", *groups), rows=tuple(rows))


def mean_and_sd(values: pd.Series[float]) -> str:
    """Return '75.1 (7.2)': mean and standard deviation, with digits that suit the spread."""
    present = values.dropna().astype(float)
    if present.empty:
        return "not given"
    spread = float(present.std()) if len(present) > 1 else float("nan")
    digits = 1 if not spread < 1 else 2 if spread >= 0.1 else 3
    sd = number(spread, digits) if len(present) > 1 else "\u2013"
    return f"{number(float(present.mean()), digits)} ({sd})"


def _covariate_rows(name: str, groups: dict[str, pd.DataFrame]) -> list[Row]:
    everyone = pd.concat([groups["All evaluated"][name], *_rest(groups, name)])
    if pd.api.types.is_numeric_dtype(everyone) and not pd.api.types.is_bool_dtype(everyone):
        title = _TITLES.get(name, name)
        cells = tuple(mean_and_sd(group[name]) for group in groups.values())
        rows = [Row(f"{title}: mean (SD)", cells)]
        missing = {key: int(group[name].isna().sum()) for key, group in groups.items()}
    else:
        text = {key: _as_text(group[name]) for key, group in groups.items()}
        missing = {key: int((values == "").sum()) for key, values in text.items()}
        levels = sorted(set(_as_text(everyone)) - {""})
        title = _TITLES.get(name, name)
        if len(levels) > _MAX_LEVELS:
            cells = tuple(f"{values[values != ''].nunique()} values" for values in text.values())
            rows = [Row(title, cells)]
        else:
            rows = [_level_row(title, level, text) for level in levels]
    if not rows or len(everyone) == _as_text(everyone).eq("").sum():
        return [Row(title, tuple("not given" for _ in groups))]
    if any(missing.values()):
        rows.append(Row(f"{title}: missing", tuple(str(missing[key]) for key in groups)))
    return rows


def _rest(groups: dict[str, pd.DataFrame], name: str) -> list[pd.Series[Any]]:
    return [groups["Not evaluated"][name]] if "Not evaluated" in groups else []


def _level_row(title: str, level: str, text: dict[str, pd.Series[str]]) -> Row:
    cells = []
    for values in text.values():
        hits = int((values == level).sum())
        given = int((values != "").sum())
        cells.append(f"{hits} ({100 * hits / given:.0f}\u00a0%)" if given else "0")
    return Row(f"{title}: {level}", tuple(cells))


def _as_text(values: pd.Series[str]) -> pd.Series[str]:
    return values.astype("object").where(values.notna(), "").astype(str)
