"""The identity probe: whether the features tell which patient a slice comes from.

If they do, a split that puts slices of a patient on both sides lets a head recognise the patient
and recall the label. The probe is the plainest reader of features there is, the nearest
neighbour: the slice in hand is compared with every slice that lies at least a gap away in height,
of all patients alike, and the patients are ranked by their nearest one. As the gap grows, what is
left is what the head could recognise of a person, not of two pictures of the same millimetre.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.arrays import BoolArray, FloatArray, IntArray, SingleArray
from mri_transfer.core.specs import STRICT
from mri_transfer.evaluation.audit.document import BetweenSessions, Identity, IdentityAtGap
from mri_transfer.metrics.intervals import Estimate, bootstrap_mean, undefined
from mri_transfer.models.features import FeatureTable

__all__ = ["IdentitySpec", "identity_probe"]


#: Slices that are compared with all others at once: 10 MB an array for 5,000 slices.
_BLOCK = 512
#: Heights that differ by less than this from a gap count as the gap; files round them.
_ROUNDING_MM = 1e-3
_TOP = (1, 5)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class IdentitySpec:
    """What is asked of the features."""

    gaps_mm: tuple[float, ...] = Field(default=(1.0, 3.0, 6.0, 10.0), min_length=1)
    """Least heights between the slice in hand and those it is compared with."""
    max_patients: int = Field(default=300, ge=2)
    """A larger cohort is represented by this many patients, drawn with the seed."""


def identity_probe(
    table: FeatureTable,
    labels: Mapping[str, str],
    *,
    spec: IdentitySpec | None = None,
    bootstrap_samples: int,
    seed: int,
) -> Identity:
    """Find out whether slices betray their patient.

    Parameters
    ----------
    table : FeatureTable
        140 scans of 32 slices with 512 features take some seconds.
    labels : mapping of str to str
        The label of each patient; patients without one are left out.
    spec : IdentitySpec, optional
    bootstrap_samples : int
        Resamples of patients behind each interval.
    seed : int

    Returns
    -------
    Identity

    Raises
    ------
    ValueError
        If there are fewer than two patients with a label.
    """
    spec = spec or IdentitySpec()
    names = sorted({name for name in table.patient_ids if name in labels})
    if len(names) < 2:
        raise ValueError(f"two patients with a label are needed, found {len(names)}")
    rng = np.random.default_rng(seed)
    if len(names) > spec.max_patients:
        names = sorted(rng.choice(names, spec.max_patients, replace=False).tolist())
    searched = _search(_slices_of(table, names), spec.gaps_mm)
    codes = np.unique([labels[name] for name in names], return_inverse=True)[1]
    estimate = _Estimator(searched.patient, codes, bootstrap_samples, seed)
    by_gap = tuple(
        IdentityAtGap(
            gap_mm=gap,
            n_slices=int(searched.comparable[i].sum()),
            **_rates(searched.rank[i], searched.comparable[i], estimate),
            label_recall=estimate(_same(codes, searched, i), searched.comparable[i]),
        )
        for i, gap in enumerate(spec.gaps_mm)
    )
    of_others = estimate(_same(codes, searched, -1), np.ones(len(searched.patient), dtype=bool))
    return Identity(
        n_patients=len(names),
        n_slices=len(searched.patient),
        chance_top1=1 / len(names),
        chance_top5=min(1.0, _TOP[1] / len(names)),
        by_gap=by_gap,
        between_sessions=_between_sessions(searched, estimate),
        label_of_others=of_others,
        sentence=_sentence(by_gap, of_others, 1 / len(names)),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Slices:
    """Slices in a row, scan by scan; each scan's slices follow each other."""

    features: SingleArray
    z_mm: FloatArray
    patient: IntArray
    scan: IntArray
    n_patients: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Search:
    """What was nearest to each slice.

    Attributes
    ----------
    patient : ndarray of int64, shape (n_slices,)
    rank : ndarray of int64, shape (n_gaps, n_slices)
        How many patients have a slice nearer than the nearest of the slice's own patient.
    nearest : ndarray of int64, shape (n_gaps + 1, n_slices)
        The patient with the nearest slice; in the last row, among all other patients.
    comparable : ndarray of bool, shape (n_gaps, n_slices)
        Whether the own patient has a slice at the gap or beyond.
    session_rank, in_other_session : ndarray, shape (n_slices,)
        As rank and comparable, when of the own patient only other scans take part.
    """

    patient: IntArray
    rank: IntArray
    nearest: IntArray
    comparable: BoolArray
    session_rank: IntArray
    in_other_session: BoolArray


def _slices_of(table: FeatureTable, names: list[str]) -> _Slices:
    position = {name: i for i, name in enumerate(names)}
    scans = [i for i, name in enumerate(table.patient_ids) if name in position]
    # Patient by patient, so that the least distance to each is found by one reduction.
    scans.sort(key=lambda i: position[table.patient_ids[i]])
    n_slices = table.features.shape[1]
    features = table.features[scans].reshape(-1, table.features.shape[2])
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0)
    patient_of_scan = np.array([position[table.patient_ids[i]] for i in scans])
    return _Slices(
        features=scaled.astype(np.float32),
        z_mm=table.z_mm[scans].ravel().astype(np.float64),
        patient=np.repeat(patient_of_scan, n_slices),
        scan=np.repeat(np.arange(len(scans)), n_slices),
        n_patients=len(names),
    )


def _search(slices: _Slices, gaps_mm: tuple[float, ...]) -> _Search:
    starts = np.searchsorted(slices.patient, np.arange(slices.n_patients))
    rows = np.arange(len(slices.patient))
    ranks, nearest, comparable = [], [], []
    for at, squared in _distances(slices.features):
        own = slices.patient[at]
        apart = np.abs(slices.z_mm[at, None] - slices.z_mm[None])
        is_own = own[:, None] == slices.patient[None]
        same_scan = slices.scan[at, None] == slices.scan[None]
        np.copyto(squared, np.inf, where=rows[at, None] == rows[None])
        # What each question leaves out: too near in height, the own patient, the own scan.
        hidden_by = [apart < gap - _ROUNDING_MM for gap in gaps_mm] + [is_own, same_scan]
        least = [
            np.minimum.reduceat(np.where(hidden, np.inf, squared), starts, axis=1)
            for hidden in hidden_by
        ]
        mine = [part[np.arange(len(own)), own] for part in least]
        ranks.append(
            [(part < value[:, None]).sum(axis=1) for part, value in zip(least, mine, strict=True)]
        )
        nearest.append([part.argmin(axis=1) for part in least[:-1]])
        comparable.append([np.isfinite(value) for value in mine])
    rank: IntArray = np.concatenate(ranks, axis=1)
    found: BoolArray = np.concatenate(comparable, axis=1)
    return _Search(
        patient=slices.patient,
        rank=rank[:-2],
        nearest=np.concatenate(nearest, axis=1),
        comparable=found[:-2],
        session_rank=rank[-1],
        in_other_session=found[-1],
    )


def _distances(features: SingleArray) -> Iterator[tuple[slice, SingleArray]]:
    """Yield blocks of slices and their squared distances to all slices."""
    squares = np.einsum("ij,ij->i", features, features)
    for start in range(0, len(features), _BLOCK):
        at = slice(start, start + _BLOCK)
        block = features[at] @ features.T
        block *= -2
        block += squares[None]
        # The slice's own square is the same for all it is compared with.
        yield at, block


class _Estimator:
    """Averages slices by patient, and patients, with an interval that resamples patients."""

    def __init__(self, patient: IntArray, codes: IntArray, n_samples: int, seed: int) -> None:
        self.patient = patient
        self.codes = codes
        self.n_samples = n_samples
        self.seed = seed

    def __call__(self, hits: BoolArray, counted: BoolArray) -> Estimate:
        """Return the mean over patients of the share of their counted slices that are hits."""
        n = np.bincount(self.patient[counted], minlength=len(self.codes))
        members = np.flatnonzero(n)
        if not len(members):
            return undefined("no patient has slices this far apart", n=0)
        sums = np.bincount(self.patient[counted], weights=hits[counted], minlength=len(self.codes))
        return bootstrap_mean(
            sums[members] / n[members],
            self.codes[members],
            n_samples=self.n_samples,
            rng=np.random.default_rng(self.seed),
        )


def _rates(rank: IntArray, counted: BoolArray, estimate: _Estimator) -> dict[str, Estimate]:
    return {f"top{k}": estimate(rank < k, counted) for k in _TOP}


def _same(codes: IntArray, searched: _Search, row: int) -> BoolArray:
    same: BoolArray = codes[searched.nearest[row]] == codes[searched.patient]
    return same


def _between_sessions(searched: _Search, estimate: _Estimator) -> BetweenSessions | None:
    counted = searched.in_other_session
    if not counted.any():
        return None
    n_patients = len(np.unique(searched.patient[counted]))
    rates = _rates(searched.session_rank, counted, estimate)
    return BetweenSessions(n_patients=n_patients, **rates)


def _percent(estimate: Estimate) -> str:
    return "undefined" if estimate.value is None else f"{100 * estimate.value:.1f} %"


def _sentence(by_gap: Sequence[IdentityAtGap], of_others: Estimate, chance: float) -> str:
    known = [at_gap for at_gap in by_gap if at_gap.top1.value is not None]
    if not known:
        return (
            "Whether features identify the patient could not be tested: no patient has slices far "
            "enough apart."
        )
    first, last = known[0], known[-1]
    beyond = (
        f", and in {_percent(last.top1)} where they are {last.gap_mm:g} mm away"
        if last is not first
        else ""
    )
    return (
        f"From the features of one slice the nearest neighbour identifies the patient in "
        f"{_percent(first.top1)} of cases where other slices of that patient are at least "
        f"{first.gap_mm:g} mm away{beyond} (chance: {100 * chance:.1f} %). Who is identified has "
        f"a known label: the nearest slice has the right one in {_percent(first.label_recall)}, "
        f"the nearest slice of another patient in {_percent(of_others)}."
    )
