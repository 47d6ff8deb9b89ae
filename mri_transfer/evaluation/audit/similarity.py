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
from mri_transfer.core.grouping import positions_by_name
from mri_transfer.core.specs import STRICT
from mri_transfer.evaluation.audit.candidates import MAX_PAIRS, Sketcher, near_pairs
from mri_transfer.evaluation.audit.document import Similarity, SimilarityRange, SimilarPair
from mri_transfer.models.features import FeatureTable
from mri_transfer.training.folds import Folds

__all__ = ["SimilaritySpec", "compare_scans", "similar_scans"]


#: Scans that are compared at once: 128 stacks of 32 x 8192 take 270 MB in double precision.
_BLOCK = 128
_QUANTILES = (0.5, 0.99, 1.0)
#: Scans of a large cohort whose pairs say how alike scans of different patients are.
_SAMPLE = 2000


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

    Up to two thousand scans every pair is compared. In larger cohorts pairs that may be alike are
    found by sketches, and the figures of different patients are those of 2000 scans drawn.

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
    columns = tables[-1]
    names, other_names = (np.array(part.patient_ids, dtype=object) for part in (table, columns))
    if len(table.scan_ids) * len(columns.scan_ids) > MAX_PAIRS:
        values, rows_at, columns_at, spread = _near(tables, spec)
    else:
        values, rows_at, columns_at = _pairs_of(tables)
        same = (names[rows_at] == other_names[columns_at]).astype(bool)
        spread = [_spread(values[part]) for part in (~same, same)]
    held_out = (
        {} if folds is None else dict(zip(folds.patient_ids, folds.assignment.T, strict=True))
    )
    pairs = [
        SimilarPair(
            scan_a=table.scan_ids[rows_at[k]],
            patient_a=names[rows_at[k]],
            scan_b=columns.scan_ids[columns_at[k]],
            patient_b=other_names[columns_at[k]],
            similarity=float(values[k]),
            same_patient=bool(names[rows_at[k]] == other_names[columns_at[k]]),
            across_folds=None
            if folds is None
            else _across(held_out.get(names[rows_at[k]]), held_out.get(other_names[columns_at[k]])),
        )
        for k in np.flatnonzero(values >= spec.same_person)
    ]
    return Similarity(
        threshold=spec.same_person,
        n_scans=n_scans,
        different_patients=spread[0],
        same_patient=spread[1],
        pairs=tuple(sorted(pairs, key=_order)),
        reason=None,
    )


def _pairs_of(tables: list[FeatureTable]) -> tuple[FloatArray, IntArray, IntArray]:
    """Return similarities of all pairs, and the positions of both scans of each."""
    similarity = _Standard(tables).cosines(tables[0].features, tables[-1].features)
    if len(tables) == 1:
        rows_at, columns_at = np.triu_indices(len(similarity), 1)
    else:
        rows_at, columns_at = np.indices(similarity.shape).reshape(2, -1)
    return similarity[rows_at, columns_at], rows_at, columns_at


def _near(
    tables: list[FeatureTable], spec: SimilaritySpec
) -> tuple[FloatArray, IntArray, IntArray, list[SimilarityRange]]:
    """Return pairs of one patient and pairs that may be alike, and how alike pairs are in general.

    As `_pairs_of`, but pairs of different patients are looked for by sketches
    (`audit.candidates`), and their figures are those of a sample of scans, but for the largest.
    """
    standard, within = _Standard(tables), len(tables) == 1
    first, last = tables[0], tables[-1]
    sketcher = Sketcher(int(np.prod(first.features.shape[1:])))
    sketches = [sketcher.sketches(map(standard.unit, _blocks(part.features))) for part in tables]
    wanted = {
        pair
        for pairs in near_pairs(sketches[0], sketches[-1], at_least=spec.same_person, within=within)
        for pair in map(tuple, pairs.tolist())
    }
    others = positions_by_name(last.patient_ids)
    of_one_patient = {
        (i, j)
        for i, name in enumerate(first.patient_ids)
        for j in others.get(name, ())
        if i < j or not within
    }
    at = np.array(sorted(wanted | of_one_patient), dtype=np.int64).reshape(-1, 2)
    values = np.array([standard.cosine(first.features[i], last.features[j]) for i, j in at])
    same = np.array([pair in of_one_patient for pair in map(tuple, at.tolist())], dtype=bool)
    found = _sample(tables, standard)
    highest = float(values[~same].max(initial=-1.0))
    if found.max is not None:
        found = found.model_copy(update={"max": max(found.max, highest)})
    return values, at[:, 0], at[:, 1], [found, _spread(values[same])]


def _sample(tables: list[FeatureTable], standard: _Standard) -> SimilarityRange:
    """Return how alike pairs of different patients are, among scans that are drawn."""
    rng, drawn = np.random.default_rng(0), []
    for table in tables:
        n = len(table.scan_ids)
        drawn.append(table.rows(np.sort(rng.choice(n, min(n, _SAMPLE), replace=False)).tolist()))
    similarity = standard.cosines(drawn[0].features, drawn[-1].features)
    names = [np.array(part.patient_ids, dtype=object) for part in (drawn[0], drawn[-1])]
    wanted = names[0][:, None] != names[1][None, :]
    if len(tables) == 1:
        wanted = np.triu(wanted, 1)
    return _spread(similarity[wanted])


class _Standard:
    """Moments of every feature at every slice position, over the scans of all cohorts."""

    def __init__(self, tables: list[FeatureTable]) -> None:
        parts = [part for table in tables for part in _blocks(table.features)]
        n_scans = sum(map(len, parts))
        self.mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / n_scans
        squares = sum(((part - self.mean) ** 2).sum(axis=0) for part in parts)
        deviation = np.sqrt(squares / n_scans)
        self.deviation = np.where(deviation > 1e-6, deviation, 1.0)

    def unit(self, features: SingleArray) -> SingleArray:
        """Return standardised stacks as rows of unit length."""
        flat = ((features - self.mean) / self.deviation).reshape(len(features), -1)
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        scaled: SingleArray = (flat / np.maximum(length, 1e-12)).astype(np.float32)
        return scaled

    def cosine(self, one: SingleArray, other: SingleArray) -> float:
        """Return the cosine of two scans, 4 digits."""
        rows = self.unit(np.stack([one, other]))
        return round(float(rows[0] @ rows[1]), 4)

    def cosines(self, first: SingleArray, last: SingleArray) -> FloatArray:
        """Return cosines of every scan of one cohort and every one of another, 4 digits."""
        cosines = np.empty((len(first), len(last)))
        for i in range(0, len(first), _BLOCK):
            rows = self.unit(first[i : i + _BLOCK])
            for j in range(0, len(last), _BLOCK):
                cosines[i : i + _BLOCK, j : j + _BLOCK] = rows @ self.unit(last[j : j + _BLOCK]).T
        # The last digits depend on the order of sums, and so on the machine.
        return cosines.round(4)


def _blocks(features: SingleArray) -> list[SingleArray]:
    return [features[i : i + _BLOCK] for i in range(0, len(features), _BLOCK)]


def _across(first: IntArray | None, second: IntArray | None) -> bool:
    """Return whether a fold holds one of two patients out and not the other."""
    return first is not None and second is not None and bool((first != second).any())


def _order(pair: SimilarPair) -> tuple[bool, float, str, str]:
    return pair.same_patient, -pair.similarity, pair.scan_a, pair.scan_b


def _spread(values: FloatArray) -> SimilarityRange:
    if not len(values):
        return SimilarityRange(n=0, min=None, median=None, q99=None, max=None)
    median, q99, largest = (float(q) for q in np.quantile(values, _QUANTILES))
    return SimilarityRange(
        n=len(values), min=float(values.min()), median=median, q99=q99, max=largest
    )
