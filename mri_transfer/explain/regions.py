"""Regions of the head, and how much of the log-odds comes from each.

Regions are boxes by thirds of the head and, where the scans lie in MNI space, five structures told
by the tissue maps of the MNI152 template and by the lines that
`mri_transfer.cohorts.synthetic.template` draws along the medial temporal lobe; an atlas, where
there is one, names finer structures (`mri_transfer.explain.structures`). A cell of the maps is some
15 mm wide: a small structure shares its cells with its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.explain.cohort_maps import patient_means
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.metrics.intervals import patient_bootstrap

__all__ = ["box_regions", "mean_over_patients", "mni_regions", "region_rows", "volume_at"]

DoubleArray = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]
#: Share of each cell that lies in each region, by name; (n_slices, rows, columns).
Shares = dict[str, DoubleArray]

#: Region of cells, and parts of cells, that are not in the head.
OUTSIDE = "outside the head"
#: Points along the edge of a cell at which a template is asked.
_PER_EDGE = 4
#: The medial temporal field of the template above this is the lobe itself.
_MEDIAL_LOSS = 0.2


def box_regions(geometry: SliceGeometry, inside: FloatArray) -> Shares:
    """Divide a head by the header's axes: six parts seen from above, and three by height.

    Parameters
    ----------
    geometry : SliceGeometry
    inside : ndarray of float32, shape (n_slices, rows, columns)
        Share of each cell that lies in the head.
    """
    x, y, z = geometry.cell_points_mm((inside.shape[1], inside.shape[2]), per_edge=_PER_EDGE)
    used = inside > 0.5
    if not used.any():
        return {}
    middle = (float(x[used].min()) + float(x[used].max())) / 2
    ends = np.quantile(y[used], [1 / 3, 2 / 3])
    heights = np.quantile(z[used], [1 / 3, 2 / 3])
    depth = {
        "back": y < ends[0],
        "middle": (y >= ends[0]) & (y < ends[1]),
        "front": y >= ends[1],
    }
    # A cell that an edge goes through belongs to both sides, by the share of its points.
    regions = {
        f"{part} third, {side}": (member & right).mean(axis=-1)
        for part, member in depth.items()
        for side, right in (("left", x < middle), ("right", x >= middle))
    }
    levels = (z < heights[0], (z >= heights[0]) & (z < heights[1]), z >= heights[1])
    names = ("lowest third", "middle third of the height", "highest third")
    regions |= {name: lv.mean(axis=-1) for name, lv in zip(names, levels, strict=True)}
    return regions | {OUTSIDE: 1.0 - inside}


def mni_regions() -> Callable[[SliceGeometry, tuple[int, int]], Shares]:
    """Return a function that divides slices in MNI space by the template's structures."""
    from mri_transfer.cohorts.synthetic.template import FIELD_STEP_MM, load_template

    template = load_template(spacing_mm=2.0)
    grey, white, mask, _ = template.maps
    affine = _affine(template.origin_mm, 1.0)
    points = _voxel_points(grey.shape, template.origin_mm)
    loss = template.loss["medial_temporal"]
    medial = volume_at(loss, _affine(template.origin_mm, FIELD_STEP_MM), points) > _MEDIAL_LOSS
    x, y, z = points
    inner = (np.abs(x) < 40) & (y > -54) & (y < 40) & (z > -14) & (z < 34)
    fluid = np.clip(mask - grey - white, 0, 1)
    structures = {
        "medial temporal lobes": medial * (grey + white),
        "ventricles and inner fluid": inner * fluid * ~medial,
        "deep grey matter": grey * inner * ~medial,
        "white matter": white * ~medial,
        "outer grey matter and sulci": (grey + fluid) * ~inner * ~medial,
    }

    def divide(geometry: SliceGeometry, cells: tuple[int, int]) -> Shares:
        points = geometry.cell_points_mm(cells, per_edge=_PER_EDGE)
        return {
            name: volume_at(values, affine, points).mean(axis=-1)
            for name, values in structures.items()
        }

    return divide


def _affine(origin_mm: Sequence[float], step_mm: float) -> DoubleArray:
    affine = np.diag([step_mm] * 3 + [1.0])
    affine[:3, 3] = origin_mm
    return affine


def _voxel_points(shape: tuple[int, ...], origin_mm: Sequence[float]) -> DoubleArray:
    """Return the world position of voxels of 1 mm, shape (3, X, Y, Z)."""
    axes = [o + np.arange(n) for o, n in zip(origin_mm, shape, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float64)


def volume_at(values: npt.NDArray[Any], affine: DoubleArray, points_mm: DoubleArray) -> DoubleArray:
    """Return a volume's values at world positions, 0 outside; the affine has no turn.

    Parameters
    ----------
    values : ndarray, shape (X, Y, Z)
    affine : ndarray of float64, shape (4, 4)
    points_mm : ndarray, shape (3, ...)
    """
    from scipy import ndimage

    index = points_mm - affine[:3, 3].reshape(3, *[1] * (points_mm.ndim - 1))
    index = index / np.diag(affine)[:3].reshape(3, *[1] * (points_mm.ndim - 1))
    found: DoubleArray = ndimage.map_coordinates(
        np.asarray(values, dtype=np.float32), index, order=1, mode="constant", cval=0.0
    ).astype(np.float64)
    return found


def region_rows(
    maps: FloatArray,
    shares: Sequence[Shares],
    inside: FloatArray,
    patient_ids: Sequence[str],
    labels: Mapping[str, str],
    *,
    n_samples: int,
    seed: int,
    confidence: float,
) -> list[dict[str, Any]]:
    """Return each region's part in the log-odds, by label.

    Parameters
    ----------
    maps : ndarray of float32, shape (n_scans, n_slices, rows, columns)
    shares : sequence of mapping, length n_scans
        Share of each cell in each region.
    inside : ndarray of float32, shape as `maps`
        Share of each cell that lies in the head.
    patient_ids : sequence of str, length n_scans
    labels : mapping of str to str
        Label of each patient.
    n_samples, seed, confidence
        Of the bootstrap over patients.

    Returns
    -------
    list of dict
        region, share (of the head, None for what is outside of it), by_label: label to an
        estimate of the mean sum of the region's attributions.
    """
    rows = []
    for region in dict.fromkeys(name for one in shares for name in one):
        values = np.array(
            [(maps[i] * one[region]).sum(dtype=np.float64) for i, one in enumerate(shares)]
        )
        names, means = patient_means(values, patient_ids)
        by_label = {}
        for label in sorted(set(labels.values())):
            own = means[[labels[name] == label for name in names]]
            if len(own):
                by_label[label] = mean_over_patients(
                    own, n_samples=n_samples, seed=seed, confidence=confidence
                )
        parts = [
            (one[region] * inside[i]).sum() / max(float(inside[i].sum()), 1e-9)
            for i, one in enumerate(shares)
        ]
        share = None if region == OUTSIDE else float(np.mean(parts))
        rows.append({"region": region, "share": share, "by_label": by_label})
    return rows


def mean_over_patients(
    values: DoubleArray, *, n_samples: int, seed: int, confidence: float
) -> dict[str, Any]:
    """Return the mean of patients' values as an estimate, by the bootstrap over patients."""
    return patient_bootstrap(
        lambda drawn: values[drawn].mean(axis=1),
        np.zeros(len(values)),
        n_samples=n_samples,
        rng=np.random.default_rng(seed),
        confidence=confidence,
        batched=True,
    ).as_dict()
