"""The proof that a fold's head owes nothing to its test patients: it is fitted again without them.

The test patients' features are replaced by finite garbage and their labels are flipped; then
everything inside the fold is done again: choices, threshold, recalibration, the head. If the
result is the same to the last bit, nothing of a test patient can have entered it. A scaler, a
selection of features, a harmonisation or a threshold that was fitted on all patients changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mri_transfer.core.arrays import BoolArray, IntArray
from mri_transfer.core.specs import canonical_json
from mri_transfer.core.tensorfile import read_rows, write_tensors
from mri_transfer.evaluation.audit.checks import CheckResult, Fault
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureTable
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds

__all__ = [
    "Refit",
    "blind",
    "blind_activations",
    "blinded_refit",
    "flipped",
    "head_differences",
]

Tables: TypeAlias = Mapping[str, FeatureTable]


class ReadTables(Protocol):
    """Reads a cohort's features, so that a large cohort's need not be kept twice."""

    def __call__(self, *, order_seed: int | None = None) -> Tables:
        """Return the features of every pooling, in new arrays.

        Parameters
        ----------
        order_seed : int, optional
            Draws another order of the scans, the same in every table.
        """


#: Fits one outer fold (repeat, fold) from the start, everything that is chosen inside included.
#: The function that it is handed returns the tables; it may be called again.
Refit: TypeAlias = Callable[[Callable[[], Tables], Folds, tuple[int, int]], FittedModel]

#: How much larger the garbage is than features are; what it touches cannot stay unnoticed.
_MAGNITUDE = 10.0
#: Scans whose features are handled at once.
_SCANS_AT_ONCE = 512


def blinded_refit(
    refit: Refit,
    read: ReadTables,
    folds: Folds,
    trained: Sequence[FittedModel],
    *,
    labels: tuple[str, str],
    n_checked: int,
    seed: int,
) -> list[CheckResult]:
    """Fit some outer folds again, blind to their test patients, and compare the heads.

    Parameters
    ----------
    refit : callable
        Takes a function that returns tables, folds and (repeat, fold); returns that fold's head.
    read : ReadTables
        Reads the tables as the run had them.
    folds : Folds
    trained : sequence of FittedModel
        The run's own heads.
    labels : tuple of str
        Positive and negative label.
    n_checked : int
        Outer folds to draw; each costs one fit, or two where the heads differ.
    seed : int

    Returns
    -------
    list of CheckResult
        Three. `refit_reproduces`: the fold fitted again is the stored one (another machine
        or library may round differently). `test_patients_blinded`: the blinded head is the one
        that this machine makes of the true data. `row_order`: nor does it depend on the order of
        the cohort's rows.

    Raises
    ------
    ValueError
        If there is no trained fold to check.
    """
    if not trained:
        raise ValueError("no trained fold to check")
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(trained), size=min(n_checked, len(trained)), replace=False)
    sample = [trained[i] for i in sorted(drawn)]
    unlike: list[Fault] = []
    leaking: list[Fault] = []
    for stored in sample:
        key = (stored.repeat, stored.fold)
        blinded = refit(
            partial(_read_blind, read, folds, key, seed), flipped(folds, key, labels), key
        )
        if not head_differences(stored, blinded):
            continue
        # Either a leak, or this machine does not reproduce the stored head at all.
        again = refit(read, folds, key)
        unlike += _at(key, head_differences(stored, again))
        leaking += _at(key, head_differences(again, blinded))
    first = sample[0]
    key = (first.repeat, first.fold)
    reordered_rows = refit(partial(read, order_seed=seed), folds, key)
    reference = first if not unlike else refit(read, folds, key)
    order = _at(key, head_differences(reference, reordered_rows))
    n_fitted = len(sample)
    return [
        CheckResult.of(
            "refit_reproduces",
            unlike,
            what="A fold that is fitted again gives the stored head",
            expected="the same bytes and facts",
            n_checked=n_fitted,
        ),
        CheckResult.of(
            "test_patients_blinded",
            leaking,
            what="With the test patients' features scrambled and their labels flipped, the fold "
            "gives the same head, threshold, recalibration and choices",
            expected="the same bytes and facts",
            n_checked=n_fitted,
        ),
        CheckResult.of(
            "row_order",
            order,
            what="With the cohort's rows in another order the fold gives the same head",
            expected="the same bytes and facts",
            n_checked=1,
        ),
    ]


def _read_blind(read: ReadTables, folds: Folds, key: tuple[int, int], seed: int) -> Tables:
    """Read tables that are blind to a fold's test patients, the same ones every time."""
    tables = read()
    blind(tables, folds, key, rng=np.random.default_rng([seed, *key]))
    return tables


def blind(tables: Tables, folds: Folds, key: tuple[int, int], *, rng: np.random.Generator) -> None:
    """Overwrite the features of a fold's test patients.

    They become normal noise of ten times the features' root mean square.

    Parameters
    ----------
    tables : mapping of str to FeatureTable
        Whose arrays are changed.
    folds : Folds
    key : tuple of int
        Repeat and fold.
    rng : numpy.random.Generator
    """
    held_out = _held_out_scans(tables, folds, key)
    for table in tables.values():
        size = _MAGNITUDE * _root_mean_square(table.features, ~held_out)
        for scans in _few_at_once(held_out):
            shape = (len(scans), *table.features.shape[1:])
            table.features[scans] = size * rng.standard_normal(shape, dtype=np.float32)


def flipped(folds: Folds, key: tuple[int, int], labels: tuple[str, str]) -> Folds:
    """Return folds with the labels of a fold's test patients flipped; who is held out stays.

    Parameters
    ----------
    folds : Folds
    key : tuple of int
        Repeat and fold.
    labels : tuple of str
        Positive and negative label; each becomes the other.
    """
    repeat, fold = key
    test = folds.assignment[repeat] == fold
    other = {labels[0]: labels[1], labels[1]: labels[0]}
    turned = tuple(
        other.get(label, labels[0]) if held else label
        for label, held in zip(folds.labels, test, strict=True)
    )
    return dataclasses.replace(folds, labels=turned)


def _held_out_scans(tables: Tables, folds: Folds, key: tuple[int, int]) -> BoolArray:
    """Return which scans are those of a fold's test patients."""
    repeat, fold = key
    names = {folds.patient_ids[i] for i in np.flatnonzero(folds.assignment[repeat] == fold)}
    owners = next(iter(tables.values())).patient_ids
    return np.array([name in names for name in owners])


def _root_mean_square(features: npt.NDArray[np.float32], scans: BoolArray) -> float:
    """Return the root mean square of some scans' features, read a few scans at a time."""
    total = 0.0
    for rows in _few_at_once(scans):
        total += float(np.square(features[rows], dtype=np.float64).sum())
    return float(np.sqrt(total / max(int(scans.sum()) * features[0].size, 1)))


def _few_at_once(scans: BoolArray) -> Iterator[IntArray]:
    """Yield the positions of some scans, a few hundred at a time."""
    rows = np.flatnonzero(scans)
    for start in range(0, len(rows), _SCANS_AT_ONCE):
        yield rows[start : start + _SCANS_AT_ONCE]


def blind_activations(
    activations: ActivationTable, own: FeatureTable, given: FeatureTable, folder: Path, *, seed: int
) -> ActivationTable:
    """Return what lies at the cut for the scans of a table, as blind as the table is.

    Parameters
    ----------
    activations : ActivationTable
        Of the scans of `own`.
    own, given : FeatureTable
        The run's, and the same blinded or in another order. A scan whose features differ gets one
        file of values in a random order.
    folder : Path
        Where that file is written.
    seed : int
    """
    position = {scan_id: i for i, scan_id in enumerate(own.scan_ids)}
    rows = [position[scan_id] for scan_id in given.scan_ids]
    found = activations.rows(rows)
    blinded = [
        i for i, row in enumerate(rows) if not np.array_equal(given.features[i], own.features[row])
    ]
    if not blinded:
        return found
    values = read_rows(found.files[blinded[0]], found.array)
    shuffled = np.random.default_rng(seed).permutation(values.ravel()).reshape(values.shape)
    garbage = folder / "garbage.safetensors"
    write_tensors(garbage, {found.array: shuffled}, schema="garbage")
    files = list(found.files)
    for i in blinded:
        files[i] = garbage
    return dataclasses.replace(found, files=tuple(files))


def head_differences(first: FittedModel, second: FittedModel) -> list[Fault]:
    """Return in what two heads differ: tensors by their bytes, facts by their JSON.

    Returns
    -------
    list of dict
        `what` differs, with `largest_difference` where two arrays can be subtracted.
    """
    differences: list[Fault] = []
    if first.head.kind != second.head.kind:
        differences.append({"what": "kind", "values": [first.head.kind, second.head.kind]})
    a, b = first.tensors, second.tensors
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b or not _same_bytes(a[name], b[name]):
            distance = _distance(a.get(name), b.get(name))
            differences.append({"what": f"tensor {name}", **distance})
    facts = (first.head.facts, second.head.facts)
    for name in sorted(facts[0].keys() | facts[1].keys()):
        known = [canonical_json([side[name]] if name in side else []) for side in facts]
        if known[0] != known[1]:
            differences.append({"what": f"fact {name}"})
    return differences


def _at(key: tuple[int, int], differences: list[Fault]) -> list[Fault]:
    return [{"repeat": key[0], "fold": key[1], **difference} for difference in differences]


def _same_bytes(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _distance(
    a: npt.NDArray[np.float32] | None, b: npt.NDArray[np.float32] | None
) -> dict[str, float]:
    if a is None or b is None or a.shape != b.shape:
        return {}
    largest = float(np.abs(a.astype(np.float64) - b).max(initial=0.0))
    return {"largest_difference": largest} if np.isfinite(largest) else {}
