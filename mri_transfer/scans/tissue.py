"""TissueMaps: fluid, grey and white matter of a prepared scan, voxel by voxel.

Everything here is a function of one scan, independent of labels and of the cohort.

The grey values inside the head are a mixture of fluid, grey and white matter, dark to bright as
in any T1 scan, and of voxels that lie on a border and hold two of them (partial volume; Laidlaw
et al. 1998, IEEE TMI 17:74-86). The mixture is fitted to the histogram by expectation maximisation.
A Markov field then prefers neighbours that are alike. States stand in one order, fluid, grey,
white, and the field counts the squared distance of neighbours on that scale: fluid beside white
matter costs four times as much as fluid beside grey.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.errors import IntensityError
from mri_transfer.scans.slices import head_mask
from mri_transfer.scans.volumes import Volume

__all__ = ["TissueMaps", "TissueSpec", "segment_tissues"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

#: What a voxel may hold, on the scale fluid 0, grey matter 1, white matter 2.
_STATES = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0])
#: Fraction of each tissue in each state, shape (n_states, 3).
_FRACTIONS = np.stack([np.clip(1 - np.abs(_STATES - k), 0, 1) for k in range(3)], axis=1)
#: The states between two tissues are equally frequent: five weights are fitted.
_GROUP = np.array([0, 1, 1, 1, 2, 3, 3, 3, 4])
_BINS, _MAX_STEPS, _TOLERANCE = 256, 200, 1e-5
#: A tissue's deviation is at least this fraction of the largest one: no tissue shrinks to one grey.
_LEAST_DEVIATION = 0.3


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TissueSpec:
    """How the voxels of a scan are divided among fluid, grey and white matter."""

    smoothness: float = Field(default=1.0, ge=0.0, le=10.0)
    """Weight of the Markov field: half of it times the squared distance to each of the six
    neighbours, in tissues; 0 looks at every voxel by itself."""
    n_sweeps: int = Field(default=5, ge=1, le=50)
    """Updates of the field, of all voxels at once."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TissueMaps:
    """Tissues of one scan.

    Attributes
    ----------
    fractions : ndarray of float32, shape (3, X, Y, Z)
        Expected fraction of fluid, grey and white matter, in that order; they add up to 1 inside
        the head and are 0 outside.
    head : ndarray of bool, shape (X, Y, Z)
    signal : ndarray of float64, shape (3,)
        Mean grey value of each tissue, ascending.
    """

    fractions: FloatArray
    head: BoolArray
    signal: DoubleArray

    @property
    def fluid(self) -> FloatArray:
        """Fraction of fluid, shape (X, Y, Z)."""
        return _float32(self.fractions[0])

    @property
    def grey(self) -> FloatArray:
        """Fraction of grey matter, shape (X, Y, Z)."""
        return _float32(self.fractions[1])

    @property
    def white(self) -> FloatArray:
        """Fraction of white matter, shape (X, Y, Z)."""
        return _float32(self.fractions[2])


def segment_tissues(volume: Volume, spec: TissueSpec) -> TissueMaps:
    """Divide the voxels of one prepared scan among fluid, grey and white matter.

    Parameters
    ----------
    volume : Volume
        T1, skull-stripped, free of the bias field, in RAS+.
    spec : TissueSpec

    Returns
    -------
    TissueMaps

    Raises
    ------
    IntensityError
        If the head has fewer than three grey values.
    """
    head = head_mask(volume.voxels)
    values = _float32(volume.voxels[head])
    distinct = np.unique(values)
    if len(distinct) < 3:
        raise IntensityError(
            "three tissues cannot be told apart",
            where=volume.scan_id,
            found=f"{len(distinct)} different grey values inside the head",
            expected="three or more",
            remedy="Use a T1 scan with its original grey values",
        )
    mixture = _fit(values)
    beliefs = _settle(mixture.log_likelihood(values), head, spec)
    fractions = np.zeros((3, *head.shape), dtype=np.float32)
    fractions[:, head] = _FRACTIONS.astype(np.float32).T @ beliefs.T
    return TissueMaps(fractions=fractions, head=head, signal=mixture.means)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Mixture:
    """Mean and variance of each tissue, shape (3,), and the weight of each group of states."""

    means: DoubleArray
    variances: DoubleArray
    weights: DoubleArray

    def log_likelihood(self, values: FloatArray) -> FloatArray:
        """Return the logarithm of weight times density, shape (n_values, n_states)."""
        weights = (self.weights / np.bincount(_GROUP))[_GROUP]
        variances = _FRACTIONS @ self.variances
        constant = np.log(weights + 1e-12) - 0.5 * np.log(variances)
        # A whole head has two million voxels: in single precision, and in place.
        deviation = _float32(np.sqrt(variances))
        logarithm: FloatArray = values[:, None] / deviation
        logarithm -= _float32(_FRACTIONS @ self.means) / deviation
        np.square(logarithm, out=logarithm)
        logarithm *= np.float32(-0.5)
        logarithm += _float32(constant)
        return logarithm


def _fit(values: FloatArray) -> _Mixture:
    """Fit the mixture to the histogram of the grey values inside the head."""
    counts, edges = np.histogram(values.astype(np.float64), bins=_BINS)
    greys, share = (edges[1:] + edges[:-1]) / 2, counts / counts.sum()
    means, span = _start(greys, counts), greys[-1] - greys[0]
    mixture = _Mixture(
        means=means,
        variances=np.full(3, ((means[2] - means[0]) / 12) ** 2),
        weights=np.full(5, 0.2),
    )
    for _ in range(_MAX_STEPS):
        better = _step(mixture, greys, share, least=(span / _BINS) ** 2)
        moved = float(np.abs(better.means - mixture.means).max())
        mixture = better
        if moved < _TOLERANCE * span:
            break
    return mixture


def _start(greys: DoubleArray, counts: IntArray) -> DoubleArray:
    """Return the means of three classes by Otsu's thresholds, to begin with."""
    from skimage.filters import threshold_multiotsu

    low, high = threshold_multiotsu(hist=(counts, greys), classes=3)  # type: ignore[no-untyped-call]
    parts = [greys <= low, (greys > low) & (greys <= high), greys > high]
    return np.array([np.average(greys[part], weights=counts[part]) for part in parts])


def _step(mixture: _Mixture, greys: DoubleArray, share: DoubleArray, *, least: float) -> _Mixture:
    """Do one step of expectation maximisation; `least` is the smallest variance."""
    odds = _softmax(mixture.log_likelihood(_float32(greys)))
    belief = odds.astype(np.float64) * share[:, None]
    precision = belief / (_FRACTIONS @ mixture.variances)
    # Means of the states lie on the lines between those of the tissues: weighted least squares.
    normal = _FRACTIONS.T @ (precision.sum(axis=0)[:, None] * _FRACTIONS)
    right = _FRACTIONS.T @ (precision * greys[:, None]).sum(axis=0)
    means = np.sort(np.linalg.lstsq(normal, right, rcond=None)[0])
    squared = (belief * (greys[:, None] - _FRACTIONS @ means) ** 2).sum(axis=0)
    mass = np.maximum(_FRACTIONS.T @ belief.sum(axis=0), 1e-12)
    variances = np.maximum(_FRACTIONS.T @ squared / mass, least)
    return _Mixture(
        means=means,
        variances=np.maximum(variances, _LEAST_DEVIATION**2 * variances.max()),
        weights=np.asarray(np.bincount(_GROUP, belief.sum(axis=0), minlength=5), dtype=np.float64),
    )


def _settle(likelihood: FloatArray, head: BoolArray, spec: TissueSpec) -> FloatArray:
    """Return what each voxel of the head holds, shape (n_voxels, n_states), by mean field.

    With squared distances a neighbour matters through its expected state alone: one convolution
    a sweep.
    """
    from scipy import ndimage

    beliefs = _softmax(likelihood)
    if spec.smoothness == 0:
        return beliefs
    six = ndimage.generate_binary_structure(3, 1).astype(np.float32)
    six[1, 1, 1] = 0
    n_neighbours = ndimage.convolve(head.astype(np.float32), six, mode="constant")[head]
    states = _STATES.astype(np.float32)
    expected = np.zeros(head.shape, dtype=np.float32)
    for _ in range(spec.n_sweeps):
        expected[head] = beliefs @ states
        around = ndimage.convolve(expected, six, mode="constant")[head]
        distance = n_neighbours[:, None] * states**2 - 2 * around[:, None] * states
        beliefs = _softmax(_float32(likelihood - np.float32(spec.smoothness / 2) * distance))
    return beliefs


def _softmax(logits: FloatArray) -> FloatArray:
    odds: FloatArray = logits - logits.max(axis=1, keepdims=True)
    np.exp(odds, out=odds)
    odds /= odds.sum(axis=1, keepdims=True)
    return odds


def _float32(values: npt.NDArray[np.floating]) -> FloatArray:
    return np.asarray(values, dtype=np.float32)
