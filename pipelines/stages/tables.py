"""Tables: evaluation and audit once more, as tidy CSV files with their data dictionary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.evaluation import EvaluationDocument
from mri_transfer.evaluation.audit import AuditDocument
from mri_transfer.report.schemas import describe, describe_names
from mri_transfer.report.tidy import (
    MADE_COLUMNS,
    MADE_TABLES,
    TABLES,
    Origin,
    TidyTable,
    csv_text,
    tidy,
)
from pipelines.workspace import Workspace

__all__ = ["write_tables"]

_DICTIONARY = "columns"
#: What R calls the types of columns.
_R_TYPES = {"boolean": "logical", "Int64": "integer", "float64": "numeric", "str": "character"}
#: What the column of a figure brings along.
_COMPANIONS = ("ci_low", "ci_high", "n", "reason")

_INTRODUCTION = """\
# Tables of this run

`evaluation.json` and, where there is one, `audit.json` once more, as tidy tables: one row an
observation, one column a variable. UTF-8, commas between cells, a missing value is an empty cell,
truth values are TRUE and FALSE, several values in one cell are joined by `; `. A table without
rows is left out. Where a description says null, the cell is empty.

`columns.csv` lists every column with its type in R and its meaning. It tells R what it would
otherwise have to guess, such as that `F` is a level of sex and not FALSE, and that `001` is the
name of a patient:

```r
columns <- read.csv("columns.csv")
read_table <- function(name) {
  known <- columns[columns$table == name, ]
  read.csv(paste0(name, ".csv"), na.strings = "", encoding = "UTF-8",
           colClasses = setNames(known$type, known$column))
}
figures <- read_table("figures")
subset(figures, section == "patient", c(metric, value, ci_low, ci_high))
```

A figure `x` has beside it, where intervals are given, the columns `x_ci_low` and `x_ci_high` (its
confidence interval), `x_n` (the units behind it) and `x_reason` (why something is missing). How
the interval was made is in the table `figures`. The word `repeat` means something to R: here that
column is `cv_repeat`.
"""


def write_tables(workspace: Workspace) -> list[Path]:
    """Write the tables of a run, with the dictionary of their columns.

    Tables of an earlier version of the run that it no longer has are removed.

    Parameters
    ----------
    workspace : Workspace
        With `evaluation.json`; `audit.json` is read if it is there.

    Returns
    -------
    list of Path
        The CSV files, `columns.csv` and `README.md`, all in the run's `tables` folder.

    Raises
    ------
    RunFolderError
        If there is no evaluation, or evaluation or audit is of another version.
    """
    path = workspace.demand(workspace.evaluation, made_by="evaluate")
    evaluation = EvaluationDocument.read(path, stage="evaluate")
    audit = None
    if workspace.audit.exists():
        audit = AuditDocument.read(workspace.audit, stage="audit").plain()
    tables = tidy(evaluation.plain(), audit)
    columns = pd.DataFrame(
        [row for name, table in tables.items() for row in _columns(name, table)],
        columns=["table", "column", "type", "description"],
    )
    texts = {f"{name}.csv": csv_text(table.frame) for name, table in tables.items()}
    texts[f"{_DICTIONARY}.csv"] = csv_text(columns)
    texts["README.md"] = "\n".join(_readme(tables))
    for name in TABLES:
        if name not in tables:
            (workspace.tables / f"{name}.csv").unlink(missing_ok=True)
    written = []
    for name, text in texts.items():
        atomic_write_text(workspace.tables / name, text)
        written.append(workspace.tables / name)
    return written


def _columns(name: str, table: TidyTable) -> Iterator[tuple[str, str, str, str]]:
    for column in table.frame:
        kind = _R_TYPES[str(table.frame[column].dtype)]
        yield name, str(column), kind, _meaning(str(column), table.origins.get(str(column)))


def _meaning(column: str, origin: Origin | None) -> str:
    """Return what a column is, in the words of the schema."""
    if origin is None:
        return MADE_COLUMNS[column]
    if not origin.keys:
        return _words(origin)
    # What a figure is says its own name; that it is a value goes without saying.
    keys = origin.keys[:-1] if origin.keys[-1] == "value" and len(origin.keys) > 1 else origin.keys
    steps = [keys[: i + 1] for i in range(len(keys))]
    found = [describe(origin.document, (*origin.place, *step)) for step in steps]
    return " ".join(filter(None, found))


def _words(origin: Origin) -> str:
    """Return what a column is that holds the keys of an object, or a value by itself."""
    try:
        return describe_names(origin.document, origin.place)
    except KeyError:
        return describe(origin.document, origin.place)


def _readme(tables: Mapping[str, TidyTable]) -> Iterator[str]:
    yield _INTRODUCTION
    for name, table in tables.items():
        yield f"## {name}\n\n{_purpose(name, table)}\n\n| column | type | meaning |\n|---|---|---|"
        for _, column, kind, meaning in _columns(name, table):
            if not _is_companion(column, table):
                yield f"| `{column}` | {kind} | {meaning.replace('|', '/')} |"
        yield ""


def _purpose(name: str, table: TidyTable) -> str:
    """Return what a table is: the section, and what its rows are where that is told apart."""
    if name in MADE_TABLES:
        return MADE_TABLES[name]
    places = [table.place[:end] for end in range(len(table.place), 0, -1)]
    rows = next(filter(None, (describe(table.document, place) for place in places)))
    return " ".join(dict.fromkeys((describe(table.document, table.place[:1]), rows)))


def _is_companion(column: str, table: TidyTable) -> bool:
    """Tell whether a column only completes that of a figure."""
    return any(
        column.endswith(f"_{end}") and f"{column.removesuffix(f'_{end}')}_ci_low" in table.frame
        for end in _COMPANIONS
    )
