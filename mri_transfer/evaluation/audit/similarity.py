"""Scans whose features are as alike as those of one person: near-duplicates by what the head sees.

`audit.duplicates` compares files, voxels and brains. Here the features themselves are compared,
which needs nothing but the feature table: whatever the trunk takes for one brain is a leak for
the head, however it came about.

A scan is its whole stack: every feature at every slice position, standardised over the scans at
that position, so that what all brains have in common drops out. Two scans are as alike as the
cosine of the angle between them.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.arrays import FloatArray, IntArray, SingleArray
from mri_transfer.core.specs import STRICT
from mri_transfer.evaluation.audit.document import Similarity, SimilarityRange, SimilarPair
from mri_transfer.models.features import FeatureTable
from mri_transfer.training.folds import Folds

__all__ = ["SimilaritySpec", "compare_scans", "similar_scans"]


#: Scans that are compared at once: 128 stacks of 32 x 8192 take 270 MB in double precision.
_BLOCK = 128
_QUANTILES = (0.5, 0.99, 1.0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SimilaritySpec:
    """From which similarity on the features of two scans show one person.

    Measured with the default trunk and pooling. Different people reach .29 (140 slabs of OASIS-1,
    9730 pairs) and .23 (24 whole heads of OASIS-1 and IXI, 274 pairs); one person reaches .77 in
    two sessions on one scanner (two pairs; .60 and more if only 8 scans are compared), and .64 to
    .70 in one scan with slices 1 mm apart, but .37 to .48 at 2 mm: scans must be placed alike.
    The mean over the slices tells worse: .61 and .67 for different people, .88 for one. A slab
    and a whole head of one person do not look alike; `audit.duplicates` knows them.
    """

    same_person: float = Field(default=0.5, gt=0, lt=1)
    """Scans at least this similar show one person."""
    min_scans: int = Field(default=10, ge=2)
    """Fewer scans cannot be standardised, and none is then reported."""


def similar_scans(
    table: FeatureTable,
    second: FeatureTable | None = None,
    *,
    folds: Folds | None = None,
    spec: SimilaritySpec | None = None,
) -> tuple[SimilarPair, ...]:
    """Return the pairs of scans whose features show one person; see `compare_scans`."""
    return compare_scans(table, second, folds=folds, spec=spec).pairs


def compare_scans(
    table: FeatureTable,
    second: FeatureTable | None = None,
    *,
    folds: Folds | None = None,
    spec: SimilaritySpec | None = None,
) -> Similarity:
    """Compare the features of all scans, or of the scans of two cohorts.

    Parameters
    ----------
    table : FeatureTable
    second : FeatureTable, optional
        A second cohort, of the same trunk and slices: then only pairs between the two are looked
        at, and one patient id in both does not prove one person. They are standardised together.
    folds : Folds, optional
        Says which pairs lie across a split; of patients in it only.
    spec : SimilaritySpec, optional

    Raises
    ------
    ValueError
        If the two cohorts have other numbers of slices or features.
    """
    spec = spec or SimilaritySpec()
    tables = [table] if second is None else [table, second]
    if len({part.features.shape[1:] for part in tables}) > 1:
        shapes = " and ".join(str(part.features.shape[1:]) for part in tables)
        raise ValueError(f"features of two shapes (slices, features) cannot be compared: {shapes}")
    n_scans = sum(len(part.scan_ids) for part in tables)
    if n_scans < spec.min_scans:
        reason = f"{n_scans} scans; {spec.min_scans} are needed to standardise their features"
        nothing = _spread(np.zeros(0))
        return Similarity(
            threshold=spec.same_person,
            n_scans=n_scans,
            different_patients=nothing,
            same_patient=nothing,
            pairs=(),
            reason=reason,
        )
    values, rows_at, columns_at = _pairs_of(tables)
    columns = tables[-1]
    names, other_names = (np.array(part.patient_ids, dtype=object) for part in (table, columns))
    same = (names[rows_at] == other_names[columns_at]).astype(bool)
    pairs = [
        SimilarPair(
            scan_a=table.scan_ids[rows_at[k]],
            patient_a=names[rows_at[k]],
            scan_b=columns.scan_ids[columns_at[k]],
            patient_b=other_names[columns_at[k]],
            similarity=float(values[k]),
            same_patient=bool(same[k]),
            across_folds=_across(names[rows_at[k]], other_names[columns_at[k]], folds),
        )
        for k in np.flatnonzero(values >= spec.same_person)
    ]
    return Similarity(
        threshold=spec.same_person,
        n_scans=n_scans,
        different_patients=_spread(values[~same]),
        same_patient=_spread(values[same]),
        pairs=tuple(sorted(pairs, key=_order)),
        reason=None,
    )


def _pairs_of(tables: list[FeatureTable]) -> tuple[FloatArray, IntArray, IntArray]:
    """Return similarities of all pairs, and the positions of both scans of each."""
    similarity = _cosines(tables)
    if len(tables) == 1:
        rows_at, columns_at = np.triu_indices(len(similarity), 1)
    else:
        rows_at, columns_at = np.indices(similarity.shape).reshape(2, -1)
    return similarity[rows_at, columns_at], rows_at, columns_at


def _cosines(tables: list[FeatureTable]) -> FloatArray:
    """Return cosines of the first cohort's scans and the last one's, 4 digits."""
    parts = [
        table.features[i : i + _BLOCK]
        for table in tables
        for i in range(0, len(table.features), _BLOCK)
    ]
    n_scans = sum(map(len, parts))
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / n_scans
    deviation = np.sqrt(sum(((part - mean) ** 2).sum(axis=0) for part in parts) / n_scans)
    deviation = np.where(deviation > 1e-6, deviation, 1.0)

    def unit(features: SingleArray) -> SingleArray:
        flat = ((features - mean) / deviation).reshape(len(features), -1)
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        scaled: SingleArray = (flat / np.maximum(length, 1e-12)).astype(np.float32)
        return scaled

    first, last = tables[0].features, tables[-1].features
    cosines = np.empty((len(first), len(last)))
    for i in range(0, len(first), _BLOCK):
        rows = unit(first[i : i + _BLOCK])
        for j in range(0, len(last), _BLOCK):
            cosines[i : i + _BLOCK, j : j + _BLOCK] = rows @ unit(last[j : j + _BLOCK]).T
    # The last digits depend on the order of sums, and so on the machine.
    return cosines.round(4)


def _across(first: str, second: str, folds: Folds | None) -> bool | None:
    if folds is None:
        return None
    held_out = dict(zip(folds.patient_ids, folds.assignment.T, strict=True))
    a, b = held_out.get(first), held_out.get(second)
    return a is not None and b is not None and bool((a != b).any())


def _order(pair: SimilarPair) -> tuple[bool, float, str, str]:
    return pair.same_patient, -pair.similarity, pair.scan_a, pair.scan_b


def _spread(values: FloatArray) -> SimilarityRange:
    if not len(values):
        return SimilarityRange(n=0, min=None, median=None, q99=None, max=None)
    median, q99, largest = (float(q) for q in np.quantile(values, _QUANTILES))
    return SimilarityRange(
        n=len(values), min=float(values.min()), median=median, q99=q99, max=largest
    )
