"""Quality scores of one scan.

Every score is a function of one scan. `mri_transfer.scans.quality.rules` gives its source and
thresholds.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.specs import digest
from mri_transfer.core.store import JsonStore
from mri_transfer.scans.preparation import PreparedScan
from mri_transfer.scans.preparation.aged_template import aged_template_on
from mri_transfer.scans.preparation.passthrough import is_slab
from mri_transfer.scans.preparation.registration import one_thread
from mri_transfer.scans.preparation.template import image_of_volume, load_template
from mri_transfer.scans.volumes import Volume

__all__ = ["HISTOGRAM_EDGES", "ScanScores", "ScoreStore", "measure_scan", "score_key"]

#: Increment when the same scan would get other scores.
_SCHEMA = "mri-transfer/scores/3"

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

#: Bins of a scan's histogram: signal divided by the brain's median.
HISTOGRAM_EDGES = np.linspace(0.0, 2.0, 41)

_SURE = 0.9  # tissue probability above which a voxel is used
_DEEP_MM = 6.0
_DARK_SHARE = 0.01
#: Voxels darker than this fraction of the brain's median are fluid.
_FLUID_SHARE = 0.45
#: The cerebellum is posterior and inferior to these template positions (y and z).
_CEREBELLUM_MM = (-45.0, -25.0)
#: Distance of compared slices: resampling makes closer ones similar, including their noise.
_SLICE_GAP_MM = 3.0
#: Slices with less than this fraction of the largest slice's brain area are not compared.
_MIN_SLICE_SHARE = 0.5
_NO_TISSUE: dict[str, float | None] = {"snr": None, "cnr": None, "contrast": None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanScores:
    """The scores of one scan.

    Parameters
    ----------
    values : dict of str to float or None
        By name; None where a score is not defined.
    turn : int
        Orientation of the content relative to the header: index into `preparation.pose.TURNS`.
    histogram : tuple of float
        Fraction of the brain's voxels in each bin of `HISTOGRAM_EDGES`; sums to 1.
    """

    values: dict[str, float | None]
    turn: int
    histogram: tuple[float, ...]


def measure_scan(raw: Volume, prepared: PreparedScan) -> ScanScores:
    """Score a scan.

    Parameters
    ----------
    raw : Volume
        The original scan.
    prepared : PreparedScan
        The prepared scan.

    Returns
    -------
    ScanScores
    """
    with one_thread():
        turn = prepared.turn
        image = image_of_volume(prepared.volume)
        voxels, mask = prepared.volume.voxels, prepared.mask
        brain = voxels[mask]
        median = float(np.median(brain)) if brain.size else 0.0
        values: dict[str, float | None] = {
            **_orientation(prepared),
            "tilt_deg": None if prepared.alignment is None else prepared.alignment.tilt_deg,
            **_fit(prepared, image),
            **(_tissue(voxels, mask, image, median) if turn == 0 else _NO_TISSUE),
            **_shape(prepared),
            "spacing_mm": max(raw.spacing_mm),
            "grey_levels": float(np.unique(raw.voxels[raw.voxels > raw.voxels.min()]).size),
            "background": _background(raw.voxels, prepared),
            **_signal_loss(prepared, image, median),
            "slice_break": _slice_break(prepared.volume, mask),
            "sharpness": _sharpness(voxels, mask, median),
            "entropy_focus": _entropy_focus(raw.voxels),
        }
    counts, _ = np.histogram(brain / max(median, 1e-12), bins=HISTOGRAM_EDGES)
    share = counts / max(int(counts.sum()), 1)
    return ScanScores(
        values={name: _rounded(value) for name, value in values.items()},
        turn=turn,
        histogram=tuple(round(float(s), 6) for s in share),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.6g}")


def _orientation(prepared: PreparedScan) -> dict[str, float | None]:
    """Return the orientation scores; undefined if registration is switched off."""
    if prepared.alignment is None and not prepared.passed_through:
        return {"turned": None, "turn_lead": None}
    alignment = prepared.alignment
    return {
        "information": None if alignment is None else alignment.information,
        "turned": float(prepared.turn != 0),
        "turn_lead": prepared.margin,
    }


def _fit(prepared: PreparedScan, image: Any) -> dict[str, float | None]:
    """Return the brain's overlap, similarity and coverage relative to the template."""
    template = load_template()
    expected = template.mask_on(image)
    mask, covered = prepared.mask, prepared.covered
    both = mask & expected
    # An old brain resembles the aged template, a young one the template.
    templates = template.tissue_on(image, "t1"), aged_template_on(image)
    seen = expected & covered
    slab = prepared.passed_through and is_slab(prepared.volume)
    return {
        "dice": float(2 * both.sum() / max(int(mask.sum() + seen.sum()), 1)),
        "similarity": None
        if slab
        else max(_correlation(prepared.volume.voxels[both], t1[both]) for t1 in templates),
        "coverage": None if slab else float(seen.sum() / max(int(expected.sum()), 1)),
    }


def _tissue(
    voxels: FloatArray, mask: BoolArray, image: Any, median: float
) -> dict[str, float | None]:
    """Return SNR, CNR and contrast from voxels that are certainly of one tissue."""
    template = load_template()
    # The template's tissue maps are invalid where an atrophied brain has fluid.
    solid = mask & (voxels > _FLUID_SHARE * median)
    white, grey = (
        voxels[solid & (template.tissue_on(image, tissue) > _SURE)] for tissue in ("white", "grey")
    )
    if white.size < 2 or grey.size < 2 or np.median(grey) <= 0:
        return _NO_TISSUE
    signal, darker, noise = float(np.median(white)), float(np.median(grey)), _robust_sd(white)
    spread = float(np.hypot(noise, _robust_sd(grey)))
    return {
        "snr": signal / noise if noise > 0 else None,
        "cnr": (signal - darker) / spread if spread > 0 else None,
        "contrast": signal / darker,
    }


def _robust_sd(values: FloatArray) -> float:
    """Return the standard deviation estimated from the interquartile range, robust to outliers."""
    low, high = np.percentile(values, (25, 75))
    return float((high - low) / 1.349)


def _shape(prepared: PreparedScan) -> dict[str, float | None]:
    """Return volume and proportions of the brain by the header's voxel size."""
    alignment = prepared.alignment
    if alignment is None:
        return {"brain_litres": None, "stretch": None}
    voxel_mm3 = float(np.prod(prepared.volume.spacing_mm))
    litres = float(prepared.mask.sum()) * voxel_mm3 * alignment.volume_ratio * 1e-6
    scales = np.linalg.svd(alignment.matrix[:3, :3], compute_uv=False)
    return {"brain_litres": litres, "stretch": float(scales.max() / scales.min())}


def _signal_loss(prepared: PreparedScan, image: Any, median: float) -> dict[str, float | None]:
    """Return scores of missing tissue: deep in the brain, in the cerebellum, on one side."""
    from scipy import ndimage

    voxels = prepared.volume.voxels
    if prepared.passed_through:
        # It may be in another space: use its own outline.
        depth = round(_DEEP_MM / min(prepared.volume.spacing_mm))
        deep = ndimage.binary_erosion(prepared.mask, iterations=depth, border_value=1)
        return {"holes": _share(voxels[deep] <= _DARK_SHARE * median)}
    deep = load_template().mask_on(image, margin_mm=-_DEEP_MM) & prepared.covered
    x, y, z = (
        axis.reshape([-1 if i == k else 1 for i in range(3)])
        for k, axis in enumerate(_positions_mm(prepared.volume))
    )
    cerebellum = deep & (y < _CEREBELLUM_MM[0]) & (z < _CEREBELLUM_MM[1])
    fluid = deep & (voxels < _FLUID_SHARE * median) & (z > _CEREBELLUM_MM[1])
    voxel_ml = float(np.prod(prepared.volume.spacing_mm)) * 1e-3
    ratio = 1.0 if prepared.alignment is None else prepared.alignment.volume_ratio
    sides = int((fluid & (x > 0)).sum()) - int((fluid & (x < 0)).sum())
    return {
        "holes": _share(voxels[deep & ~cerebellum] <= _DARK_SHARE * median),
        "cerebellum": _share(voxels[cerebellum] > _FLUID_SHARE * median),
        "fluid_asymmetry_ml": abs(sides) * voxel_ml * ratio,
    }


def _share(flags: BoolArray) -> float | None:
    return float(flags.mean()) if flags.size else None


def _positions_mm(volume: Volume) -> tuple[npt.NDArray[np.float64], ...]:
    """Return the positions of a prepared volume's voxels along x, y and z."""
    return tuple(
        volume.affine[k, 3] + volume.affine[k, k] * np.arange(n)
        for k, n in enumerate(volume.voxels.shape)
    )


def _background(voxels: FloatArray, prepared: PreparedScan) -> float | None:
    """Return the signal at the edge of the field of view, from darkest (0) to bright tissue (1)."""
    if prepared.passed_through and is_slab(prepared.volume):
        return None
    faces = np.concatenate(
        [np.take(voxels, end, axis=axis).ravel() for axis in range(3) for end in (0, -1)]
    )
    darkest = float(np.percentile(voxels, 0.1))
    bright = float(np.percentile(voxels, 90.0))
    # The neck or the crown may fill one face; most of the edge is air.
    edge = float(np.median(faces))
    return (edge - darkest) / (bright - darkest) if bright > darkest else None


def _slice_break(volume: Volume, mask: BoolArray) -> float | None:
    """Return the lowest correlation of a slice with the mean of its neighbours, over all axes."""
    lowest = []
    for axis, edge_mm in enumerate(volume.spacing_mm):
        planes, inside = np.moveaxis(volume.voxels, axis, 0), np.moveaxis(mask, axis, 0)
        gap = max(1, int(_SLICE_GAP_MM / edge_mm))
        enough = _MIN_SLICE_SHARE * inside.sum(axis=(1, 2)).max()
        for k in range(gap, len(planes) - gap):
            common = inside[k - gap] & inside[k] & inside[k + gap]
            if common.sum() > enough:
                around = (planes[k - gap][common] + planes[k + gap][common]) / 2
                lowest.append(_correlation(planes[k][common], around))
    return min(lowest) if lowest else None


def _correlation(a: FloatArray, b: FloatArray) -> float:
    """Return Pearson's correlation; 0 if either array is constant up to rounding."""
    pair = np.stack([a, b]).astype(np.float64)
    if a.size < 2 or (np.ptp(pair, axis=1) <= 1e-6 * np.abs(pair).max(axis=1)).any():
        return 0.0
    return float(np.corrcoef(pair[0], pair[1])[0, 1])


def _sharpness(voxels: FloatArray, mask: BoolArray, median: float) -> float | None:
    """Return the mean gradient per voxel inside the brain, divided by its median signal."""
    from scipy import ndimage

    inner = ndimage.binary_erosion(mask, iterations=2)
    if not inner.any() or median <= 0:
        return None
    squared = sum(np.square(np.gradient(voxels, axis=axis)) for axis in range(3))
    return float(np.sqrt(np.asarray(squared)[inner]).mean() / median)


def _entropy_focus(voxels: FloatArray) -> float | None:
    """Return Atkinson's entropy focus criterion, 0 (all energy in one voxel) to 1 (uniform)."""
    signal = voxels.astype(np.float64) - float(voxels.min())
    energy = float(np.sqrt(np.square(signal).sum()))
    if energy == 0:
        return None
    share = signal[signal > 0] / energy
    most = np.sqrt(signal.size) * np.log(np.sqrt(signal.size))
    return float(-(share * np.log(share)).sum() / most)


class ScoreStore(JsonStore):
    """Scores in the cache, addressed by `score_key`."""

    kind = "scores"
    schema = _SCHEMA

    def put(self, key: str, scores: ScanScores) -> None:
        """Store a scan's scores."""
        self._write(key, dataclasses.asdict(scores))

    def get(self, key: str) -> ScanScores:
        """Read a scan's scores.

        Raises
        ------
        StoreError
            If the entry is missing or invalid.
        """
        read = self._read(key)
        return ScanScores(**{**read, "histogram": tuple(read["histogram"])})


def score_key(prepared_key: str) -> str:
    """Return the key of a prepared scan's scores."""
    return digest({"kind": _SCHEMA, "prepared": prepared_key})
