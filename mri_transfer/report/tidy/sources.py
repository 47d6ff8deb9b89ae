"""Which part of which document becomes which table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from mri_transfer.report.tidy.cells import (
    Cell,
    Key,
    Origin,
    Path,
    Rows,
    cells,
    column_name,
    ordered,
)

__all__ = [
    "SOURCES",
]

#: The way so far, the row so far, and the piece of the document there.
_Place = tuple[Path, list[Cell], Any]


@dataclasses.dataclass(frozen=True)
class Source:
    """A part of a document, and how it becomes the rows of a table.

    Attributes
    ----------
    table, document : str
    way : str
        Steps to what is a row, split by `/`: a key; `[]` or `[column]`, every element of a list,
        whose position the column takes; `{column}` or `{column:a,b}`, every entry (or some) of an
        object, whose key the column takes. `+a,b` behind a step carries those keys of what it
        leads to into the row. `[]?` gives one row for an empty list.
    form : {'object', 'scalars', 'points', 'matrix', 'decision curve'}
        What is found there: an object (or a value), which is a row; an object of which only plain
        values count; lists of equal length, a row each position; labels and a matrix; the
        decision curve.
    skip : tuple of str
        Keys that are left out, mostly since they are a table of their own.
    also : tuple of (str, str)
        Columns with a fixed text.
    value : str
        Opens the names of the columns of what is found; names the column of a bare value.
    """

    table: str
    document: Literal["evaluation", "audit"]
    way: str
    form: Literal["object", "scalars", "points", "matrix", "decision curve"] = "object"
    skip: tuple[str, ...] = ()
    also: tuple[tuple[str, str], ...] = ()
    value: str = ""

    def read(self, content: Mapping[str, Any], rows: Rows) -> None:
        """Add the rows of a document."""
        start: list[Cell] = [(column, None, text) for column, text in self.also]
        places: list[_Place] = [((), start, content)]
        for step in filter(None, self.way.split("/")):
            places = [after for place in places for after in self._after(place, step)]
        for path, row, node in places:
            for found in self._found(node, Origin(self.document, path)):
                rows.add([*row, *found], path)

    def _after(self, place: _Place, step: str) -> Iterator[_Place]:
        """Take a step."""
        path, row, node = place
        head, _, carried = step.partition("+")
        column, chosen, _ = head[1:-1].partition(":")
        # The keys that a choice is made from are fixed, and none of them is a name.
        origin = Origin(self.document, path) if head[0] == "{" and not chosen else None
        for key, name in _children(node, head):
            child, at = node[key] if key is not None else {}, (*path, 0 if key is None else key)
            named: list[Cell] = [(column, origin, name)] if name is not None else []
            taken = {one: child.get(one) for one in carried.split(",") if one}
            carry = list(cells(taken, Origin(self.document, at)))
            yield at, [*row, *named, *carry], child

    def _found(self, node: Any, origin: Origin) -> Iterator[list[Cell]]:
        """Yield the cells of each row that is made of what was found."""
        if node is None:
            return
        if self.form == "points":
            lists = {name: node[name] for name in ordered(node) if isinstance(node[name], list)}
            for i in range(max(map(len, lists.values()))):
                yield [(column_name(name), origin.then(name), lists[name][i]) for name in lists]
        elif self.form == "matrix":
            yield from _matrix_rows(node)
        elif self.form == "decision curve":
            yield from _decision_rows(node, origin)
        else:
            skip = set(self.skip)
            if self.form == "scalars":
                skip |= {name for name in node if isinstance(node[name], (dict, list))}
            yield list(cells(node, origin, self.value, skip=frozenset(skip)))


def _children(node: Any, head: str) -> Iterator[tuple[Key | None, Key | None]]:
    """Yield the keys that a step leads to, and what each is called in a column, if it is.

    The key None stands for the element that an empty list does not have.
    """
    if not node:
        if node == [] and head == "[]?":
            yield None, None
        return
    if head[0] == "[":
        yield from ((i, i if head.strip("[]?") else None) for i in range(len(node)))
    elif head[0] == "{":
        _, _, wanted = head[1:-1].partition(":")
        names = wanted.split(",") if wanted else sorted(node)
        yield from ((name, name) for name in names if name in node)
    elif node.get(head) is not None:
        yield head, None


def _matrix_rows(node: Mapping[str, Any]) -> Iterator[list[Cell]]:
    labels = node["labels"] if "labels" in node else node["classes"]
    matrix = node["matrix"] if "matrix" in node else node["confusion"]
    for label, counts in zip(labels, matrix, strict=True):
        for other, count in zip(labels, counts, strict=True):
            yield [("reference", None, label), ("predicted", None, other), ("n", None, count)]


def _decision_rows(node: Mapping[str, Any], origin: Origin) -> Iterator[list[Cell]]:
    """Yield a row for each threshold, strategy and quantity."""
    entry = Origin(origin.document, (*origin.place, "model", 0))
    series = [
        ("model", None, "net_benefit", node["model"]),
        ("model", None, "gain", node["gain"]),
        ("treat_all", None, "net_benefit", node["treat_all"]),
        ("treat_none", None, "net_benefit", node["treat_none"]),
    ]
    for name in sorted(node["others"]):
        other = node["others"][name]
        series.append(("baseline", name, "net_benefit", other["net_benefit"]))
        series.append(("baseline", name, "difference", other["difference"]))
    for strategy, baseline, quantity, values in series:
        for threshold, value in zip(node["thresholds"], values, strict=True):
            estimate = value if isinstance(value, Mapping) else {"value": value}
            yield [
                ("threshold", Origin(origin.document, (*origin.place, "thresholds", 0)), threshold),
                ("strategy", None, strategy),
                ("baseline", None, baseline),
                ("quantity", None, quantity),
                *cells(estimate, entry),
            ]


_SEVERAL = (("patients", "all"),), (("patients", "several scans"),)
_ARMS = "arms/{arm}"
_INFLATION = "inflation_by_split/{split}/{labels}/{metric}"

#: Every table but that of all figures; tables with two sources hold the rows of both.
SOURCES = (
    Source("overview", "evaluation", "", "scalars"),
    Source("caveats", "evaluation", "caveats/[]"),
    Source("confusion", "evaluation", "confusion", "matrix"),
    Source("roc", "evaluation", "roc", "points"),
    Source("calibration_bins", "evaluation", "calibration", "points"),
    Source("calibration_smooth", "evaluation", "calibration/smooth", "points"),
    Source("decision_curve", "evaluation", "decision_curve", "decision curve"),
    Source("predictive_values", "evaluation", "predictive_values/[]"),
    Source("operating_points", "evaluation", "operating_points/[]"),
    Source("precision", "evaluation", "precision/{figure:auc,sensitivity,specificity,"
           "calibration_slope}+value,half_width,expected_half_width,reason/patients/[]?",
           value="wanted"),
    Source("subgroups", "evaluation", "subgroups/rows/[]"),
    Source("subgroup_gaps", "evaluation", "subgroups/gaps/rows/[]"),
    Source("age_matched", "evaluation", "age_matched/{patients:all,matched,weighted}"),
    Source("failures", "evaluation", "failures/[]",
           skip=("slices", "lowest_slices", "highest_slices")),
    Source("failure_slices", "evaluation", "failures/[]+patient_id/slices/[]"),
    Source("per_repeat", "evaluation", "per_repeat/[]"),
    Source("per_fold", "evaluation", "per_fold/[]"),
    Source("choices", "evaluation", "choices/[]", skip=("trials",)),
    Source("trials", "evaluation", "choices/[]+repeat,fold/trials/[trial]"
           "+configured,chosen,procedure/inner_auc/[inner_fold]", value="inner_auc"),
    Source("baselines", "evaluation", "baselines/{baseline}", skip=("per_repeat",)),
    Source("mcnemar_repeats", "evaluation", "baselines/{baseline}/mcnemar/per_repeat/[]"),
    Source("incremental_value", "evaluation", "incremental_value/{covariate_set}"),
    Source("classes", "evaluation", "classes/one_vs_rest/{class}"),
    Source("classes_confusion", "evaluation", "classes", "matrix"),
    Source("stress_test", "audit", f"leakage+head,n_folds,n_permutations/{_ARMS}",
           also=_SEVERAL[0]),
    Source("stress_test", "audit", "leakage+head,n_folds,n_permutations/several_scans/"
           f"{_ARMS}", also=_SEVERAL[1]),
    Source("stress_test_p_values", "audit", "leakage/p_values/{metric}"),
    Source("inflation", "audit", f"leakage/{_INFLATION}", also=_SEVERAL[0]),
    Source("inflation", "audit", f"leakage/several_scans/{_INFLATION}", also=_SEVERAL[1]),
    Source("identity", "audit", "leakage/identity+chance_top1,chance_top5,n_patients/by_gap/[]",
           also=(("question", "slices at a gap in height"),)),
    Source("identity", "audit", "leakage/identity+chance_top1,chance_top5/between_sessions",
           also=(("question", "other scans of the patient"),)),
    Source("identity", "audit", "leakage/identity+chance_top1,chance_top5,n_patients,n_slices/"
           "label_of_others", also=(("question", "slices of other patients"),),
           value="label_recall"),
    Source("duplicates", "audit", "duplicates/pairs/[]"),
    Source("similar_scans", "audit", "duplicates/by_features/pairs/[]"),
    Source("similarity", "audit", "duplicates/by_features+threshold,n_scans,reason/"
           "{pairs:different_patients,same_patient}"),
    Source("checks", "audit", "checks/[]"),
    Source("shortcuts", "audit", "shortcuts+n_folds,n_permutations/covariates/[]",
           skip=("within", "score", "counts")),
    Source("shortcut_probes", "audit", "shortcuts/covariates/[]+covariate/within/{label}"),
    Source("shortcut_scores", "audit", "shortcuts/covariates/[]+covariate/score/{label}",
           skip=("mean_score",)),
    Source("shortcut_levels", "audit", "shortcuts/covariates/[]+covariate/score/{label}/"
           "mean_score/{level}", value="mean_score"),
    Source("shortcut_counts", "audit", "shortcuts/covariates/[]+covariate/label_association/"
           "counts/{label}/{level}", value="n"),
    Source("retest", "audit", "retest"),
    Source("robustness", "audit", "robustness/[]"),
    Source("learning_curve", "audit", "learning_curve/tables/{features}/curve/[]"),
    Source("extrapolation", "audit", "learning_curve/tables/{features}/extrapolation"),
    Source("transfer", "audit", "learning_curve/transfer/{control}/[]"),
    Source("sizes_left_out", "audit", "learning_curve/sizes_left_out/[]"),
)  # fmt: skip
