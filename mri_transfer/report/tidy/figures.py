"""Every figure of a document, wherever it stands, as one row each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mri_transfer.report.tidy.cells import ESTIMATE, Origin, Path, Rows, is_estimate, ordered

__all__ = ["figures"]

#: What elements of lists are called by: the first set of keys that an element has.
_IDENTITIES = (
    ("group", "measure"),
    ("group", "level"),
    ("target",),
    ("covariate",),
    ("name",),
    ("prevalence",),
    ("gap_mm",),
    ("n_train",),
)
#: Objects that hold one figure several times, by level.
_BY_LEVEL = ("mean_score",)

Names = tuple[str, ...]


def figures(documents: Mapping[str, Mapping[str, Any]]) -> Rows:
    """Return a row for every estimate of the documents, by their names.

    An estimate is found by its keys, whatever the section: a figure that is added to a document
    is in the table without further ado.
    """
    rows = Rows("evaluation")
    for document, content in documents.items():
        for section in ordered(content):
            for path, items, metric, node in _estimates(content[section], (section,), (), None):
                names = {
                    "document": document,
                    "section": section.replace("_", " "),
                    "item": "; ".join(items),
                    "metric": metric,
                }
                origin = Origin(document, path)
                rows.add(
                    [(column, None, name) for column, name in names.items()]
                    + [(key, origin.then(key), node.get(key)) for key in (*ESTIMATE, "reason")],
                    (),
                )
    return rows


def _estimates(
    node: Any, path: Path, items: Names, axis: list[float] | None
) -> Iterator[tuple[Path, Names, str, Mapping[str, Any]]]:
    """Yield the way to each estimate in keys and in names, its own name, and the estimate.

    Parameters
    ----------
    node : object
    path : tuple
        The way to the node.
    items : tuple of str
        The same in names, without the section and without the node's own.
    axis : list of float or None
        Thresholds, where lists run over them.
    """
    key = str(path[-1])
    if is_estimate(node):
        yield path, items, key, node
    elif isinstance(node, Mapping):
        axis = node.get("thresholds", axis)
        inside = items if len(path) == 1 or isinstance(path[-1], int) else (*items, key)
        for name in ordered(node):
            for found, names, metric, one in _estimates(node[name], (*path, name), inside, axis):
                if key in _BY_LEVEL and metric == name:
                    names, metric = (*names[:-1], name), key
                yield found, names, metric, one
    elif isinstance(node, list):
        for i, one in enumerate(node):
            if is_estimate(one):
                place = str(i) if axis is None else f"threshold {axis[i]:g}"
                yield (*path, i), (*items, place), key, one
            else:
                inside = items if key in ("rows", "pairs") or len(path) == 1 else (*items, key)
                yield from _estimates(one, (*path, i), (*inside, _name_of(one, i)), axis)


def _name_of(element: Any, position: int) -> str:
    for keys in _IDENTITIES:
        if isinstance(element, Mapping) and all(key in element for key in keys):
            values = [element[key] for key in keys]
            if isinstance(values[0], str):
                return ", ".join(map(str, values))
            return f"{keys[0]} {values[0]:g}"
    return str(position)
