"""The template of the synthetic heads, and where on it atrophy is planted.

The planted atrophy has three sites, each with a *push* (a smooth displacement along the gradient
of the blurred structure, enlarging or shrinking it) and a *loss* (grey and white matter replaced
by fluid):

========== ============================================================ ==========================
site       where (MNI mm)                                               effect of one unit of load
========== ============================================================ ==========================
ventricle  fluid of the lateral and third ventricles,                   walls move out by up to
           abs(x) < 40, -54 < y < 40, -14 < z < 34                      5 mm
medial     hippocampus, amygdala and parahippocampal gyrus: 8 mm        walls move in by up to
temporal   around the lines of `MEDIAL_TEMPORAL_MM`, both sides         1.5 mm; 55 % turn to fluid
cortex     grey matter next to the outer fluid; cerebellum and brain    sulci widen by up to
           stem spared                                                  1 mm; 35 % turn to fluid
========== ============================================================ ==========================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["FIELD_STEP_MM", "Template", "load_template"]

FloatArray = npt.NDArray[np.float32]

#: Lines (MNI mm, right side; the left mirrors them) along which medial temporal shrinkage is
#: planted: amygdala, hippocampal head, body and tail; then the parahippocampal gyrus.
MEDIAL_TEMPORAL_MM = (
    ((22.0, -4.0, -20.0), (27.0, -12.0, -20.0), (30.0, -24.0, -13.0), (26.0, -36.0, -3.0)),
    ((22.0, -6.0, -31.0), (25.0, -20.0, -25.0), (24.0, -34.0, -14.0)),
)

#: The fields of planted change are smooth: 2 mm resolution is sufficient.
FIELD_STEP_MM = 2

_REACH_MM = {"ventricle": 8.0, "medial_temporal": 4.0, "cortex": 2.0}
_PUSH_MM = {"ventricle": 5.0, "medial_temporal": -1.5, "cortex": 1.0}
_LOSS = {"ventricle": 0.0, "medial_temporal": 0.55, "cortex": 0.35}


@dataclass(frozen=True, kw_only=True)
class Template:
    """The template brain at 1 mm, and the fields of planted change at 2 mm.

    Attributes
    ----------
    maps : ndarray of float32, shape (4, X, Y, Z)
        Grey matter, white matter, brain mask (0 to 1) and texture (signal not explained by the
        tissue fractions, as a fraction of white matter).
    push_mm : dict of str to ndarray of float32, shape (3, X', Y', Z')
        Displacement at one unit of load, by site.
    loss : dict of str to ndarray of float32, shape (X', Y', Z')
        Fraction of tissue replaced by fluid at one unit of load, by site.
    origin_mm : tuple of float
        World position of the first voxel of both grids.
    """

    maps: FloatArray
    push_mm: dict[str, FloatArray]
    loss: dict[str, FloatArray]
    origin_mm: tuple[float, float, float]


def load_template(*, spacing_mm: float) -> Template:
    """Load nilearn's MNI152 template (Fonov et al. 2011) and compute the fields of planted change.

    Parameters
    ----------
    spacing_mm : float
        Voxel size of the generated brains; the template is smoothed accordingly.

    Returns
    -------
    Template
    """
    from nilearn import datasets

    loaders = (
        datasets.load_mni152_gm_template,
        datasets.load_mni152_wm_template,
        datasets.load_mni152_template,
    )
    images = [loader(resolution=1) for loader in loaders]
    volumes = np.stack([np.asarray(image.dataobj, dtype=np.float32) for image in images])
    box = _brain_box(volumes[2] > 0)
    grey, white, t1 = volumes[:, *box]
    mask = ndimage.binary_fill_holes(t1 > 0)
    grey, white = grey * mask, white * mask
    fluid = mask * np.clip(1 - grey - white, 0, 1)
    maps = np.stack([grey, white, mask, _texture(t1, grey, white, fluid, mask)]).astype(np.float32)
    if spacing_mm > 1:  # anti-aliasing
        maps = ndimage.gaussian_filter(maps, (0, *[0.35 * spacing_mm] * 3))
    origin = images[0].affine[:3, 3] + [edge.start for edge in box]
    push_mm, loss = _plan_changes(grey, fluid, origin)
    return Template(
        maps=maps,
        push_mm=push_mm,
        loss=loss,
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
    )


def _brain_box(brain: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the box around a brain with a margin of 8 voxels, inside the volume."""
    return tuple(
        slice(max(0, edge.start - 8), edge.stop + 8)
        for edge in ndimage.find_objects(brain.astype(np.uint8))[0]
    )


def _texture(
    t1: FloatArray,
    grey: FloatArray,
    white: FloatArray,
    fluid: FloatArray,
    mask: npt.NDArray[np.bool_],
) -> FloatArray:
    """Return the T1 signal not explained by tissue fractions, in units of white matter."""
    fractions = np.stack([grey, white, fluid], axis=-1, dtype=np.float64)
    signals, *_ = np.linalg.lstsq(fractions[mask], t1[mask])
    rest: FloatArray = np.where(mask, (t1 - fractions @ signals) / signals[1], 0)
    return rest.astype(np.float32)


def _plan_changes(
    grey: FloatArray, fluid: FloatArray, origin_mm: npt.NDArray[np.float64]
) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
    """Return the fields of planted change, sampled every `FIELD_STEP_MM` millimetres."""
    step = FIELD_STEP_MM
    grey, fluid = (
        ndimage.uniform_filter(volume, step)[::step, ::step, ::step] for volume in (grey, fluid)
    )
    axes = [o + step * np.arange(n) for o, n in zip(origin_mm, grey.shape, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    structures = {
        "ventricle": _ventricles(fluid, x, y, z),
        "medial_temporal": _medial_temporal(x, y, z),
        "cortex": _outer_fluid(fluid, x, y, z),
    }
    push_mm, loss = {}, {}
    for site, structure in structures.items():
        blurred = ndimage.gaussian_filter(structure, _REACH_MM[site] / step)
        gradient = np.stack([np.gradient(blurred, axis=axis) for axis in range(3)])
        longest = np.sqrt((gradient**2).sum(axis=0)).max()
        push_mm[site] = (_PUSH_MM[site] * gradient / longest).astype(np.float32)
        share = np.clip(blurred / np.percentile(blurred[blurred > 0.05], 90), 0, 1)
        weight = grey if site == "cortex" else 1.0
        loss[site] = (_LOSS[site] * share * weight).astype(np.float32)
    return push_mm, loss


def _ventricles(fluid: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    box = (np.abs(x) < 40) & (y > -54) & (y < 40) & (z > -14) & (z < 34)
    parts, n = ndimage.label((fluid > 0.5) & box)
    sizes_mm3 = np.bincount(parts.ravel(), minlength=n + 1) * FIELD_STEP_MM**3
    large = np.flatnonzero(sizes_mm3 > 1500)
    return np.isin(parts, large[large > 0]).astype(np.float32)


def _medial_temporal(x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    position = np.stack([np.abs(x), y, z], axis=-1)
    nearest_mm = np.full(x.shape, np.inf)
    for line in MEDIAL_TEMPORAL_MM:
        for start, end in zip(np.array(line[:-1]), np.array(line[1:]), strict=True):
            along = end - start
            t = np.clip((position - start) @ along / (along @ along), 0, 1)
            gap = position - (start + t[..., None] * along)
            nearest_mm = np.minimum(nearest_mm, np.sqrt((gap**2).sum(axis=-1)))
    return (nearest_mm < 8).astype(np.float32)


def _outer_fluid(fluid: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    below_tentorium = (y < -30) & (z < -12 - 0.35 * (y + 30)) & (z < 0)
    brain_stem = (np.abs(x) < 18) & (y < -5) & (z < -2)
    inner = (np.abs(x) < 34) & (y > -50) & (y < 40) & (z > -14) & (z < 30)
    spared = ndimage.gaussian_filter((below_tentorium | brain_stem | inner).astype(np.float32), 2)
    return (fluid * (1 - spared)).astype(np.float32)
