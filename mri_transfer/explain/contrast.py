"""Contrast maps: where a patient's evidence is unusual against healthy training patients.

Grad-CAM (Selvaraju et al. 2017, ICCV) at the trunk's last layer asks of every place, not only of
those that hold a channel's largest value, how strongly it shows what the head weighs. What the
healthy training patients of the same head show there is subtracted, the difference is smoothed
within the head, and divided by how much the healthy differ there among themselves. A value is a
number of standard deviations; above 0 it speaks for the positive label.

The map does not add up to the log-odds. It locates better than the maps that do, and its
faithfulness is measured beside theirs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.specs import digest
from mri_transfer.core.store import TensorStore
from mri_transfer.explain.attribution import Activations, head_cams
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import Folds

__all__ = [
    "SMOOTHING_MM",
    "CamStore",
    "Cams",
    "ContrastMaps",
    "cams_key",
    "contrast_maps",
    "reference_scans",
    "scan_cams",
]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

_VERSION = "mri-transfer/cams/1"
#: Standard deviation of the smoothing, in millimetres of height and within a slice.
SMOOTHING_MM = 18.0
#: Of the mean spread of the head, what is added to the spread of each place: where the few healthy
#: patients happen to agree, a small difference is not large.
_LEAST_SPREAD = 0.1
_IN_HEAD = 0.5
#: Healthy training patients that a spread needs.
_LEAST_HEALTHY = 2


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Cams:
    """Grad-CAM of one scan by every head.

    Attributes
    ----------
    own : ndarray of float32, shape (n_heads, n_slices, rows, columns)
    randomised : ndarray of float32, shape as `own`
        With each head's weights permuted among channels.
    """

    own: FloatArray
    randomised: FloatArray


class CamStore(TensorStore):
    """Grad-CAM of scans, addressed by `cams_key`."""

    kind = "cams"
    schema = _VERSION

    def put(self, key: str, cams: Cams) -> None:
        """Store the maps of a scan."""
        self._write(key, {"own": cams.own, "randomised": cams.randomised})

    def get(self, key: str) -> Cams:
        """Read the maps of a scan; raises StoreError if they cannot be trusted."""
        tensors: dict[str, Any] = self._read(key)
        return Cams(**tensors)


def cams_key(*, maps_key: str) -> str:
    """Return the key of a scan's Grad-CAM; `maps_key` holds the scan and the heads."""
    return digest({"kind": _VERSION, "maps": maps_key})


def scan_cams(
    activations: Sequence[Activations], trained: Sequence[FittedModel], *, patient_id: str
) -> Cams:
    """Return Grad-CAM of a scan by every head.

    Parameters
    ----------
    activations : sequence of Activations
        With whole maps, as in `explain_scan`.
    trained : sequence of FittedModel
    patient_id : str
    """
    own, randomised = head_cams(activations, trained, patient_id)
    return Cams(own=own, randomised=randomised)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ContrastMaps:
    """Contrast maps of some scans.

    Attributes
    ----------
    positions : tuple of int, length n
        Of the scans in the cohort.
    maps, randomised : ndarray of float32, shape (n, n_slices, rows, columns)
        Mean over repeats, in standard deviations; and by heads of permuted weights.
    n_healthy : int
        Patients of the reference.
    """

    positions: tuple[int, ...]
    maps: FloatArray
    randomised: FloatArray
    n_healthy: int

    def of(self, position: int) -> FloatArray | None:
        """Return the map of a scan by its position in the cohort; None if it has none."""
        if position not in self.positions:
            return None
        found: FloatArray = self.maps[self.positions.index(position)]
        return found


def contrast_maps(
    cams: Mapping[int, Cams],
    shown: Sequence[int],
    healthy: Sequence[int],
    *,
    patient_ids: Sequence[str],
    own: Mapping[str, Sequence[int]],
    inside: FloatArray,
    geometries: Sequence[SliceGeometry],
) -> ContrastMaps | None:
    """Compare some scans with those of healthy patients who trained the same head.

    Scans of which a head has fewer than two such patients are left out; None if none is left.

    Parameters
    ----------
    cams : mapping of int to Cams
        By position of the scan.
    shown, healthy : sequence of int
        Positions of the scans that are explained, and of those of the reference, one a patient.
    patient_ids : sequence of str, length n_scans
    own : mapping of str to sequence of int
        For each patient the heads that had not seen the patient.
    inside : ndarray of float32, shape (n_scans, n_slices, rows, columns)
        Share of each cell that lies in the head.
    geometries : sequence of SliceGeometry, length n_scans
    """

    def map_of(i: int, kind: str) -> FloatArray:
        within = _Smoothing.of(inside[i], geometries[i])
        means, squares = [], []
        for head in own[patient_ids[i]]:
            reference = np.stack(
                [
                    getattr(cams[h], kind)[head].astype(np.float64)
                    for h in healthy
                    if head not in own[patient_ids[h]]
                ]
            )
            usual = reference.mean(axis=0)
            means.append(within(getattr(cams[i], kind)[head] - usual))
            squares.append(np.mean([within(one - usual) ** 2 for one in reference], axis=0))
        spread = np.sqrt(np.mean(squares, axis=0))
        least = _LEAST_SPREAD * float(spread[within.head].mean()) if within.head.any() else 1.0
        ratio = np.mean(means, axis=0) / np.maximum(spread + least, 1e-12)
        return np.asarray(ratio, dtype=np.float32)

    def is_compared(i: int) -> bool:
        return all(
            sum(head not in own[patient_ids[h]] for h in healthy) >= _LEAST_HEALTHY
            for head in own[patient_ids[i]]
        )

    kept = tuple(i for i in shown if is_compared(i))
    if not kept:
        return None
    return ContrastMaps(
        positions=kept,
        maps=np.stack([map_of(i, "own") for i in kept]),
        randomised=np.stack([map_of(i, "randomised") for i in kept]),
        n_healthy=len(healthy),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Smoothing:
    """A Gaussian mean over the cells of a head, which knows nothing of what lies outside.

    Attributes
    ----------
    head : ndarray of bool, shape (n_slices, rows, columns)
    cells : tuple of float
        Standard deviation along each axis, in slices and cells.
    weight : ndarray of float64, shape (n_slices, rows, columns)
        The smoothed head: how much of the kernel lies in it.
    """

    head: npt.NDArray[np.bool_]
    cells: tuple[float, float, float]
    weight: DoubleArray

    @classmethod
    def of(cls, inside: FloatArray, geometry: SliceGeometry) -> _Smoothing:
        from scipy.ndimage import gaussian_filter

        rows, columns = geometry.cell_mm((inside.shape[1], inside.shape[2]))
        between = float(geometry.thickness_mm.mean())
        head = inside >= _IN_HEAD
        cells = (SMOOTHING_MM / between, SMOOTHING_MM / rows, SMOOTHING_MM / columns)
        weight = gaussian_filter(head.astype(np.float64), cells, mode="constant")
        return cls(head=head, cells=cells, weight=weight)

    def __call__(self, values: DoubleArray) -> DoubleArray:
        """Return the smoothed values; 0 outside the head."""
        from scipy.ndimage import gaussian_filter

        total = gaussian_filter(np.where(self.head, values, 0.0), self.cells, mode="constant")
        found: DoubleArray = np.where(self.head, total / np.maximum(self.weight, 1e-12), 0.0)
        return found


def reference_scans(
    patient_ids: Sequence[str], folds: Folds, *, positive: str, n: int, seed: int
) -> list[int]:
    """Return the first scans of `n` patients who lack the positive label, drawn at random.

    Parameters
    ----------
    patient_ids : sequence of str, length n_scans
    folds : Folds
        With every patient's own label.
    positive : str
    n : int
        All of them if there are fewer.
    seed : int
    """
    first: dict[str, int] = {}
    for i, name in enumerate(patient_ids):
        first.setdefault(name, i)
    healthy = [
        first[name]
        for name, label in zip(folds.patient_ids, folds.labels, strict=True)
        if label != positive and name in first
    ]
    drawn = np.random.default_rng(seed).permutation(len(healthy))[:n]
    return sorted(healthy[k] for k in drawn)
