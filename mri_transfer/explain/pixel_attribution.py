"""Pixel attribution for a few patients: integrated gradients through the input, and occlusion.

Integrated gradients (Sundararajan et al. 2017, ICML) follow the slice from a baseline to what it
is and add up the gradients on the way; they should sum to the change in log-odds, and what is
missing is reported. The baseline is the slice's own outline filled with the scan's mean grey: a
black one would be blind to fluid, which is dark. Occlusion replaces a patch of the slice by the
same grey and looks at what the model says then: no gradient, no assumption about the network.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.specs import digest
from mri_transfer.core.store import TensorStore
from mri_transfer.core.threads import one_core_each
from mri_transfer.explain.attribution import map_of_head
from mri_transfer.explain.fold_model import fold_model
from mri_transfer.explain.patches import cell_edges
from mri_transfer.scans.slices import SliceStack, head_mask
from mri_transfer.training.fitted_model import FittedModel

if TYPE_CHECKING:
    from mri_transfer.explain.spec import ExplanationSpec
    from mri_transfer.models.trunks import Trunk, TrunkNetwork

__all__ = [
    "PixelAttribution",
    "PixelAttributionStore",
    "chosen_slices",
    "pixel_attribution_key",
    "input_network",
    "attribute_pixels",
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
    raw, random_trunk : ndarray of float32, shape (n_slices, rows, columns)
        Maps of the first repeat's head, not centred, and the same through a trunk of random
        weights.
    """

    slices: npt.NDArray[np.int64]
    gradients: FloatArray
    change: npt.NDArray[np.float64]
    missing: npt.NDArray[np.float64]
    occlusion: FloatArray
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


def input_network(trunk: Trunk) -> TrunkNetwork:
    """Return the trunk in single precision, as a differentiable function of pixels.

    Parameters
    ----------
    trunk : Trunk
        Its network is copied; steps that overwrite what a gradient needs are undone in the copy.
    """
    network = copy.deepcopy(trunk.network).float()
    for module in network.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 - no attribute of a plain Module
    return network


def attribute_pixels(
    stack: SliceStack,
    trunk: Trunk,
    random_trunk: Trunk,
    own: Sequence[FittedModel],
    *,
    owner: str,
    weights: FloatArray,
    raw: FloatArray,
    spec: ExplanationSpec,
) -> PixelAttribution:
    """Look at some slices of a scan by integrated gradients and by occlusion.

    Parameters
    ----------
    stack : SliceStack
    trunk : Trunk
        As the run computes; occlusion uses it as it is, gradients in single precision.
    random_trunk : Trunk
        The same with random weights.
    own : sequence of FittedModel
        The heads that had not seen the patient, one a repeat.
    owner : str
    weights : ndarray of float32, shape (n_own, n_slices)
        How much each head counts each slice; held while pixels change.
    raw : ndarray of float32, shape (n_slices, rows, columns)
        As in `PixelAttribution`.
    spec : ExplanationSpec
    """
    cells = (raw.shape[1], raw.shape[2])
    slices = chosen_slices(len(stack.pixels), spec.close_slices)
    heads = _Heads(own, owner, weights)
    grey = _mean_grey(stack)
    through = input_network(trunk)
    mask = head_mask(stack.pixels.transpose(1, 2, 0).astype(np.float32)).transpose(2, 0, 1)

    def gradients(s: int) -> tuple[FloatArray, float, float]:
        return _integrated(
            stack.pixels[s], mask[s], grey, s, heads, through, trunk.device, spec.gradient_steps
        )

    def covered(s: int) -> FloatArray:
        return _occluded(stack.pixels[s], mask[s], grey, s, heads, trunk, cells, spec.patch_cells)

    with one_core_each(torch.get_num_threads()) as pool:
        found = list(pool.map(gradients, slices.tolist()))
    return PixelAttribution(
        slices=slices,
        gradients=np.stack([one[0] for one in found]),
        change=np.array([one[1] for one in found]),
        missing=np.array([one[2] for one in found]),
        occlusion=np.stack([covered(int(s)) for s in slices]),
        raw=raw,
        random_trunk=map_of_head(stack, random_trunk, own[0], owner=owner, weights=weights[0]),
    )


class _Heads:
    """A slice's part in the log-odds, mean over the heads of all repeats."""

    def __init__(self, own: Sequence[FittedModel], owner: str, weights: FloatArray) -> None:
        self._models = [fold_model(one, owner) for one in own]
        self._weights = torch.from_numpy(weights.astype(np.float64))

    def __call__(self, maps: torch.Tensor, s: int) -> torch.Tensor:
        """Return the log-odds of maps (n, channels, rows, columns) of slice `s`, shape (n,)."""
        maps = maps.float().cpu()
        at = torch.full((len(maps),), s)
        parts = [
            model.slice_logits(model.pooling(maps).double(), at) * self._weights[i, s]
            for i, model in enumerate(self._models)
        ]
        return torch.stack(parts).mean(0)


def _mean_grey(stack: SliceStack) -> float:
    """Return the mean grey of the scan's head, 0..255, whole."""
    inside = stack.pixels[stack.pixels > 0]
    return float(np.rint(inside.mean())) if inside.size else 0.0


def _integrated(
    pixels: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    grey: float,
    s: int,
    heads: _Heads,
    through: TrunkNetwork,
    device: str,
    steps: int,
) -> tuple[FloatArray, float, float]:
    from captum.attr import IntegratedGradients

    given = torch.from_numpy(pixels.astype(np.float32))[None].to(device)
    filled = np.where(mask, np.float32(grey), pixels.astype(np.float32))
    baseline = torch.from_numpy(filled)[None].to(device)

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        return heads(through(inputs), s)

    found = IntegratedGradients(forward).attribute(
        given, baselines=baseline, n_steps=steps, method="gausslegendre", internal_batch_size=2
    )
    with torch.no_grad():
        after, before = (float(forward(one)[0]) for one in (given, baseline))
    values = found[0].detach().cpu().numpy().astype(np.float32)
    change = after - before
    return values, change, change - float(values.sum(dtype=np.float64))


def _occluded(
    pixels: npt.NDArray[np.uint8],
    mask: npt.NDArray[np.bool_],
    grey: float,
    s: int,
    heads: _Heads,
    trunk: Trunk,
    cells: tuple[int, int],
    per_patch: int,
) -> FloatArray:
    edges = [
        np.append(cell_edges(n_px, n_cells)[:-1:per_patch], n_px)
        for n_px, n_cells in zip(pixels.shape, cells, strict=True)
    ]
    shape = (len(edges[0]) - 1, len(edges[1]) - 1)
    variants, places = [pixels], []
    for i, j in np.ndindex(*shape):
        patch = (slice(edges[0][i], edges[0][i + 1]), slice(edges[1][j], edges[1][j + 1]))
        if mask[patch].any():
            covered = pixels.copy()
            # Only the head is covered: its outline stays as it is.
            covered[patch][mask[patch]] = np.uint8(grey)
            variants.append(covered)
            places.append((i, j))
    with torch.no_grad():
        logits = heads(trunk.forward_slices(torch.from_numpy(np.stack(variants))), s).numpy()
    found = np.zeros(shape, dtype=np.float32)
    for (i, j), covered_logit in zip(places, logits[1:], strict=True):
        found[i, j] = logits[0] - covered_logit
    return found
