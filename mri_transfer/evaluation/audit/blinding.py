"""The proof that a fold's head owes nothing to its test patients: it is fitted again without them.

The test patients' features are replaced by finite garbage and their labels are flipped; then
everything inside the fold is done again: choices, threshold, recalibration, the head. If the
result is the same to the last bit, nothing of a test patient can have entered it. A scaler, a
selection of features, a harmonisation or a threshold that was fitted on all patients changes.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

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
    "head_differences",
    "reordered",
]

Tables: TypeAlias = Mapping[str, FeatureTable]
#: Fits one outer fold (repeat, fold) from the start, everything that is chosen inside included.
Refit: TypeAlias = Callable[[Tables, Folds, tuple[int, int]], FittedModel]

#: How much larger the garbage is than features are; what it touches cannot stay unnoticed.
_MAGNITUDE = 10.0
#: Scans whose features are read at once, and those that change places in a large cohort.
_SCANS_AT_ONCE, _REORDERED = 512, 4096


def blinded_refit(
    refit: Refit,
    tables: Tables,
    folds: Folds,
    trained: Sequence[FittedModel],
    *,
    labels: tuple[str, str],
    n_checked: int,
    seed: int,
    in_place: bool = False,
) -> list[CheckResult]:
    """Fit some outer folds again, blind to their test patients, and compare the heads.

    Parameters
    ----------
    refit : callable
        Takes tables, folds and (repeat, fold), and returns that fold's head.
    tables : mapping of str to FeatureTable
        As the run had them.
    folds : Folds
    trained : sequence of FittedModel
        The run's own heads.
    labels : tuple of str
        Positive and negative label.
    n_checked : int
        Outer folds to draw; each costs one fit, or two where the heads differ.
    seed : int
    in_place : bool
        Overwrite the features of the tables for each refit and restore them afterwards, instead of
        copying them: for large cohorts. Rows are then reordered among a few thousand scans.

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
        with _restored(tables, _held_out_scans(tables, folds, key), wanted=in_place):
            blinded = refit(
                *blind(tables, folds, key, labels=labels, rng=rng, in_place=in_place), key
            )
        if not head_differences(stored, blinded):
            continue
        # Either a leak, or this machine does not reproduce the stored head at all.
        again = refit(tables, folds, key)
        unlike += _at(key, head_differences(stored, again))
        leaking += _at(key, head_differences(again, blinded))
    first = sample[0]
    key = (first.repeat, first.fold)
    n_scans = len(next(iter(tables.values())).scan_ids)
    rows = (
        np.sort(rng.choice(n_scans, min(n_scans, _REORDERED), replace=False)) if in_place else None
    )
    with _restored(tables, rows, wanted=in_place):
        reordered_rows = refit(reordered(tables, rng=rng, in_place=rows), folds, key)
    reference = first if not unlike else refit(tables, folds, key)
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


def blind(
    tables: Tables,
    folds: Folds,
    key: tuple[int, int],
    *,
    labels: tuple[str, str],
    rng: np.random.Generator,
    in_place: bool = False,
) -> tuple[dict[str, FeatureTable], Folds]:
    """Replace what is known of a fold's test patients.

    Parameters
    ----------
    tables : mapping of str to FeatureTable
    folds : Folds
    key : tuple of int
        Repeat and fold.
    labels : tuple of str
        Positive and negative label; each becomes the other.
    rng : numpy.random.Generator
    in_place : bool
        Overwrite the features of the tables.

    Returns
    -------
    dict of str to FeatureTable
        With normal noise of ten times the features' root mean square in place of theirs.
    Folds
        With their labels flipped; who is held out when stays.
    """
    repeat, fold = key
    test = folds.assignment[repeat] == fold
    held_out = _held_out_scans(tables, folds, key)
    other = {labels[0]: labels[1], labels[1]: labels[0]}
    flipped = tuple(
        other.get(label, labels[0]) if held else label
        for label, held in zip(folds.labels, test, strict=True)
    )
    garbled = {}
    for pooling, table in tables.items():
        features = table.features if in_place else table.features.copy()
        size = _MAGNITUDE * _root_mean_square(features, ~held_out)
        for scans in _few_at_once(held_out):
            shape = (len(scans), *features.shape[1:])
            features[scans] = size * rng.standard_normal(shape, dtype=np.float32)
        garbled[pooling] = dataclasses.replace(table, features=features)
    return garbled, dataclasses.replace(folds, labels=flipped)


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


@contextlib.contextmanager
def _restored(tables: Tables, rows: BoolArray | IntArray | None, *, wanted: bool) -> Iterator[None]:
    """Put the features of some scans back afterwards, if they are to be overwritten."""
    if not wanted or rows is None:
        yield
        return
    kept = {pooling: table.features[rows] for pooling, table in tables.items()}
    try:
        yield
    finally:
        for pooling, features in kept.items():
            tables[pooling].features[rows] = features


def blind_activations(
    activations: ActivationTable, own: FeatureTable, given: FeatureTable, folder: Path, *, seed: int
) -> ActivationTable:
    """Return what lies at the cut for the scans of a table, as blind as the table is.

    Parameters
    ----------
    activations : ActivationTable
        Of the scans of `own`.
    own, given : FeatureTable
        The run's, and what `blind` or `reordered` made of it. A scan whose features differ gets
        one file of values in a random order.
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


def reordered(
    tables: Tables, *, rng: np.random.Generator, in_place: IntArray | None = None
) -> dict[str, FeatureTable]:
    """Return the tables with their scans in another order, the same in all of them.

    Parameters
    ----------
    tables : mapping of str to FeatureTable
    rng : numpy.random.Generator
    in_place : ndarray of int64, optional
        Scans that change places in the tables' own arrays; the others stay. By default all
        scans change places, in copies.
    """
    order = np.arange(len(next(iter(tables.values())).scan_ids))
    moved = order if in_place is None else in_place
    order[moved] = rng.permutation(moved)
    turned = {}
    for pooling, table in tables.items():
        features = table.features
        if in_place is None:
            features = features[order]
        else:
            features[moved] = features[order[moved]]
        turned[pooling] = FeatureTable(
            scan_ids=tuple(table.scan_ids[i] for i in order),
            patient_ids=tuple(table.patient_ids[i] for i in order),
            scan_sha256=tuple(table.scan_sha256[i] for i in order),
            features=features,
            z_mm=table.z_mm[order],
        )
    return turned


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
