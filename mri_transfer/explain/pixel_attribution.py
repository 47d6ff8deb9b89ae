"""Pixel attribution for a few patients: integrated gradients through the input, and occlusion.

Integrated gradients (Sundararajan et al. 2017, ICML) follow the slice from a baseline to what it
is and add up the gradients on the way; they should sum to the change in log-odds, and what is
missing is reported. The baseline is the slice's own outline filled with the scan's mean grey: a
black one would be blind to fluid, which is dark. Occlusion replaces a patch of the slice by the
same grey and looks at what the model says then: no gradient, no assumption about the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.specs import digest
from mri_transfer.core.store import TensorStore
from mri_transfer.core.threads import one_core_each
from mri_transfer.explain.attribution import map_of_head
from mri_transfer.explain.mean_log_odds import MeanLogOdds, PixelTrunks, mean_grey
from mri_transfer.explain.patches import cell_edges
from mri_transfer.explain.variants import Rectangle, maps_of_variants
from mri_transfer.scans.slices import SliceStack, head_mask
from mri_transfer.training.fitted_model import FittedModel

if TYPE_CHECKING:
    from mri_transfer.explain.spec import ExplanationSpec

__all__ = [
    "PixelAttribution",
    "PixelAttributionStore",
    "attribute_pixels",
    "chosen_slices",
    "pixel_attribution_key",
]

FloatArray = npt.NDArray[np.float32]

_VERSION = "mri-transfer/pixel-attribution/1"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PixelAttribution:
    """Some slices of one scan, by the mean of the heads that had not seen its patient.

    Attributes
    ----------
    slices : ndarray of int64, shape (n,)
        Positions in the stack.
    gradients : ndarray of float32, shape (n, size_px, size_px)
        Integrated gradients of each slice's part in the log-odds.
    change, missing : ndarray of float64, shape (n,)
        Log-odds of the slice less those of its baseline, and what the gradients' sum lacks of it.
    occlusion : ndarray of float32, shape (n, patch_rows, patch_columns)
        Log-odds of the slice less those with the patch covered.
    gradcam : ndarray of float32, shape (n, rows, columns)
        Grad-CAM by the first repeat's head, not centred.
    raw, random_trunk : ndarray of float32, shape (n_slices, rows, columns)
        Maps of the first repeat's head, not centred, and the same through a trunk of random
        weights.
    """

    slices: npt.NDArray[np.int64]
    gradients: FloatArray
    change: npt.NDArray[np.float64]
    missing: npt.NDArray[np.float64]
    occlusion: FloatArray
    gradcam: FloatArray
    raw: FloatArray
    random_trunk: FloatArray


class PixelAttributionStore(TensorStore):
    """Pixel attributions, addressed by `pixel_attribution_key`."""

    kind = "pixel_attributions"
    schema = _VERSION

    def put(self, key: str, view: PixelAttribution) -> None:
        """Store the attribution of a scan."""
        self._write(key, dataclasses.asdict(view))

    def get(self, key: str) -> PixelAttribution:
        """Read the attribution of a scan; raises StoreError if it cannot be trusted."""
        tensors: dict[str, Any] = self._read(key)
        return PixelAttribution(**tensors)


def pixel_attribution_key(
    *, maps_key: str, repeats: Sequence[tuple[int, int]], spec: ExplanationSpec
) -> str:
    """Return the key of the attribution of a scan.

    Parameters
    ----------
    maps_key : str
    repeats : sequence of (int, int)
        Repeat and fold of the heads that had not seen the patient.
    spec : ExplanationSpec
    """
    shaping = [spec.close_slices, spec.gradient_steps, spec.patch_cells]
    return digest(
        {"kind": _VERSION, "maps": maps_key, "heads": list(map(list, repeats)), "spec": shaping}
    )


def chosen_slices(n_slices: int, n: int) -> npt.NDArray[np.int64]:
    """Return `n` positions spread evenly over a stack: the middles of equal parts."""
    n = min(n, n_slices)
    return np.floor((np.arange(n) + 0.5) * n_slices / n).astype(np.int64)


def attribute_pixels(
    stack: SliceStack,
    trunks: Sequence[PixelTrunks],
    own: Sequence[FittedModel],
    *,
    patient_id: str,
    weights: FloatArray,
    raw: FloatArray,
    spec: ExplanationSpec,
) -> PixelAttribution:
    """Attribute the log-odds of some slices of a scan to pixels and to patches.

    Parameters
    ----------
    stack : SliceStack
    trunks : sequence of PixelTrunks
        That of each head, or one and the same for all of them.
    own : sequence of FittedModel
        The heads that had not seen the patient, one a repeat.
    patient_id : str
    weights : ndarray of float32, shape (n_own, n_slices)
        How much each head counts each slice; held while pixels change.
    raw : ndarray of float32, shape (n_slices, rows, columns)
        As in `PixelAttribution`.
    spec : ExplanationSpec
    """
    slices = chosen_slices(len(stack.pixels), spec.close_slices)
    heads = MeanLogOdds(own, trunks, patient_id, weights)
    grey = mean_grey(stack)
    mask = head_mask(stack.pixels.transpose(1, 2, 0).astype(np.float32)).transpose(2, 0, 1)

    def gradients(s: int) -> tuple[FloatArray, float, float]:
        return _integrated(stack.pixels[s], mask[s], grey, s, heads, spec.gradient_steps)

    with one_core_each(torch.get_num_threads()) as pool:
        integrated = list(pool.map(gradients, slices.tolist()))
    patches = [
        _Patches.of(stack.pixels[s], mask[s], grey, (raw.shape[1], raw.shape[2]), spec.patch_cells)
        for s in slices
    ]
    by_slice = [
        [
            maps_of_variants(one.trunk, stack.pixels[s], p.variants, p.rectangles)
            for one in heads.trunks
        ]
        for s, p in zip(slices, patches, strict=True)
    ]
    return PixelAttribution(
        slices=slices,
        gradients=np.stack([values for values, _, _ in integrated]),
        change=np.array([change for _, change, _ in integrated]),
        missing=np.array([missing for _, _, missing in integrated]),
        occlusion=np.stack(
            [p.changes(heads(m, int(s))) for p, m, s in zip(patches, by_slice, slices, strict=True)]
        ),
        gradcam=heads.gradcam(torch.stack([maps[0][0] for maps in by_slice]), slices),
        raw=raw,
        random_trunk=map_of_head(
            stack, trunks[0].random, own[0], patient_id=patient_id, weights=weights[0]
        ),
    )


def _integrated(
    pixels: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    grey: float,
    s: int,
    heads: MeanLogOdds,
    steps: int,
) -> tuple[FloatArray, float, float]:
    from captum.attr import IntegratedGradients

    device = heads.trunks[0].trunk.device
    filled = np.where(mask, np.float32(grey), pixels.astype(np.float32))
    given, baseline = (
        torch.from_numpy(values.astype(np.float32))[None].to(device) for values in (pixels, filled)
    )

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        return heads([one.differentiable(inputs) for one in heads.trunks], s)

    # Two at once are computed fastest: activations of more do not stay in a core's cache.
    attributed = IntegratedGradients(forward).attribute(
        given, baselines=baseline, n_steps=steps, method="gausslegendre", internal_batch_size=2
    )
    with torch.no_grad():
        after, before = forward(torch.cat([given, baseline])).tolist()
    values = attributed[0].detach().cpu().numpy().astype(np.float32)
    change = after - before
    return values, change, change - float(values.sum(dtype=np.float64))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Patches:
    """Variants of a slice with one patch covered each.

    Attributes
    ----------
    variants : ndarray of uint8, shape (n, height, width)
    rectangles : tuple of (rows, columns), length n
        The pixels of each patch.
    places : tuple of (int, int), length n
        Row and column of each patch among the patches.
    shape : tuple of int
        Rows and columns of patches.
    """

    variants: npt.NDArray[np.uint8]
    rectangles: tuple[Rectangle, ...]
    places: tuple[tuple[int, ...], ...]
    shape: tuple[int, int]

    @classmethod
    def of(
        cls,
        pixels: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.bool_],
        grey: float,
        cells: tuple[int, int],
        per_patch: int,
    ) -> Self:
        """Cover every patch that holds a part of the head; its outline stays as it is."""
        edges = [
            np.append(cell_edges(n_px, n_cells)[:-1:per_patch], n_px)
            for n_px, n_cells in zip(pixels.shape, cells, strict=True)
        ]
        shape = (len(edges[0]) - 1, len(edges[1]) - 1)
        variants, rectangles, places = [], [], []
        for i, j in np.ndindex(*shape):
            rows, columns = (
                (int(edge[k]), int(edge[k + 1])) for edge, k in zip(edges, (i, j), strict=True)
            )
            patch = (slice(*rows), slice(*columns))
            if mask[patch].any():
                covered = pixels.copy()
                covered[patch][mask[patch]] = np.uint8(grey)
                variants.append(covered)
                rectangles.append((rows, columns))
                places.append((i, j))
        return cls(
            variants=np.array(variants, dtype=np.uint8).reshape(-1, *pixels.shape),
            rectangles=tuple(rectangles),
            places=tuple(places),
            shape=shape,
        )

    def changes(self, log_odds: torch.Tensor) -> FloatArray:
        """Return what covering each patch takes from the log-odds, by patch; 0 outside the head."""
        changes = np.zeros(self.shape, dtype=np.float32)
        for place, covered in zip(self.places, log_odds[1:].tolist(), strict=True):
            changes[place] = float(log_odds[0]) - covered
        return changes
