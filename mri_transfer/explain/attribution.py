"""Maps of a scan's slices: which places of the trunk's maps made each slice's log-odds.

The rule is the gradient times the activation, element by element, at the layer whose pooled maps
are the features (HiResCAM: Draelos and Carin 2020, arXiv 2011.08891). It differs from Grad-CAM
(Selvaraju et al. 2017, ICCV), which first averages each channel's gradient over all places: where
features are the largest value of a channel, only the place of that value has a gradient, and
Grad-CAM would spread it over places that had no say. Element by element the values of a map add
up to what the features contribute to the slice's log-odds, exactly for heads that are linear.

The contribution of the mean of the training patients, place by place, is subtracted
(`centred_maps`): what is left says how a patient differs from the average training patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import one_core_each
from mri_transfer.explain.fold_model import feature_gradients, fold_model
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.explain.scan_maps import ScanMaps
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.scans.slices import SliceStack, head_mask
from mri_transfer.training.fitted_model import FittedModel

if TYPE_CHECKING:
    from mri_transfer.models.trunks import Trunk

__all__ = ["explain_scan", "map_of_head", "spread"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

#: Added to the repeat and the fold of a head, it draws how its weights are permuted.
_SHUFFLE_SEED = 20180831


def explain_scan(
    stack: SliceStack,
    trunk: Trunk,
    trained: Sequence[FittedModel],
    *,
    owner: str,
    geometry: SliceGeometry,
    features: dict[str, FloatArray],
) -> ScanMaps:
    """Pass a scan's slices through the trunk and split every head's log-odds over places.

    Parameters
    ----------
    stack : SliceStack
    trunk : Trunk
        As the features were computed with.
    trained : sequence of FittedModel
        Every outer fold of every repeat.
    owner : str
        The patient.
    geometry : SliceGeometry
    features : dict of str to ndarray of float32, shape (n_slices, n_features)
        The run's own features by pooling, to be compared.
    """
    maps = trunk.forward_slices(torch.from_numpy(stack.pixels)).cpu()
    pooled = {name: PoolMaps(name)(maps).contiguous().numpy() for name in features}
    gaps = [
        float(np.abs(pooled[name] - given).max() / max(float(np.abs(given).max()), 1e-12))
        for name, given in features.items()
    ]
    first = [one for one in trained if one.repeat == trained[0].repeat]
    gradients, logits, weights = _of_heads(trained, pooled, owner)
    permuted = [_permuted(one, gradients[i]) for i, one in enumerate(trained) if one in first]
    exact, gradcam, randomised = (
        _joined(maps, heads, weighted, classic=classic)
        for heads, weighted, classic in (
            (trained, _times(gradients, weights), False),
            (first, _times(gradients[: len(first)], weights), True),
            (first, _times(permuted, weights), False),
        )
    )
    return ScanMaps(
        exact=exact,
        gradcam=gradcam,
        randomised=randomised,
        logits=logits,
        weights=weights,
        inside=inside_cells(stack, (maps.shape[2], maps.shape[3])),
        shape=np.array(geometry.shape, dtype=np.int64),
        affine=geometry.affine,
        z_mm=geometry.z_mm,
        mismatch=max(gaps, default=0.0),
    )


def _of_heads(
    trained: Sequence[FittedModel], pooled: dict[str, FloatArray], owner: str
) -> tuple[list[DoubleArray], FloatArray, FloatArray]:
    gradients, logits, weights = [], [], []
    for one in trained:
        given = pooled[one.pooling]
        gradients.append(feature_gradients(fold_model(one, owner), given))
        output = one.slices(given[None], [owner])
        logits.append(output.logits[0])
        weights.append(output.weights[0])
    return gradients, np.stack(logits), np.stack(weights)


def _permuted(one: FittedModel, gradient: DoubleArray) -> DoubleArray:
    """Permute the gradient's channels, as if the head's weights belonged to other channels."""
    rng = np.random.default_rng([_SHUFFLE_SEED, one.repeat, one.fold])
    permuted: DoubleArray = gradient[:, rng.permutation(gradient.shape[1])]
    return permuted


def _times(gradients: Sequence[DoubleArray], weights: FloatArray) -> list[DoubleArray]:
    return [g * w[:, None] for g, w in zip(gradients, weights, strict=False)]


def _joined(
    maps: torch.Tensor,
    heads: Sequence[FittedModel],
    gradients: Sequence[DoubleArray],
    *,
    classic: bool,
) -> FloatArray:
    joined = np.empty((len(heads), len(maps), *maps.shape[2:]), dtype=np.float32)
    for pooling in dict.fromkeys(one.pooling for one in heads):
        members = [i for i, one in enumerate(heads) if one.pooling == pooling]
        given = np.stack([gradients[i] for i in members]).astype(np.float32)
        joined[members] = spread(maps, given, pooling, classic=classic)
    return joined


def map_of_head(
    stack: SliceStack, trunk: Trunk, one: FittedModel, *, owner: str, weights: FloatArray
) -> FloatArray:
    """Return one head's map of a scan through any trunk, shape (n_slices, rows, columns).

    Parameters
    ----------
    stack : SliceStack
    trunk : Trunk
    one : FittedModel
    owner : str
    weights : ndarray of float32, shape (n_slices,)
        How much each slice counts.
    """
    maps = trunk.forward_slices(torch.from_numpy(stack.pixels)).cpu()
    pooled = PoolMaps(one.pooling)(maps).contiguous().numpy()
    gradient = feature_gradients(fold_model(one, owner), pooled) * weights[:, None]
    found: FloatArray = spread(maps, gradient[None].astype(np.float32), one.pooling)[0]
    return found


def spread(
    maps: torch.Tensor, gradients: FloatArray, pooling: str, *, classic: bool = False
) -> FloatArray:
    """Carry gradients of features back to the places of the maps, times their activation.

    Parameters
    ----------
    maps : Tensor of float32, shape (n_slices, channels, rows, columns)
    gradients : ndarray of float32, shape (n_heads, n_slices, n_features)
        Of each slice's log-odds by its features.
    pooling : {"max", "average", "flatten"}
        How the features came from the maps. Places that share the largest value of a channel
        share its gradient.
    classic : bool
        Grad-CAM: each channel's gradient is averaged over all places first.

    Returns
    -------
    ndarray of float32, shape (n_heads, n_slices, rows, columns)
    """
    given, pool_maps = torch.from_numpy(gradients), PoolMaps(pooling)
    channels, rows, columns = maps.shape[1:]

    def one_slice(s: int) -> torch.Tensor:
        # A copy, since no gradient may be asked of what was computed without.
        own = maps[s : s + 1].clone().requires_grad_()
        pooled = pool_maps(own)
        (share,) = torch.autograd.grad(pooled.sum(), own)
        values, share = own.detach()[0].flatten(1), share[0].flatten(1)
        if pooled.shape[1] == channels:
            share = share.mean(1, keepdim=True) if classic else share
            return given[:, s] @ (values * share)
        by_place = given[:, s].reshape(len(given), *values.shape) * share
        if classic:
            by_place = by_place.mean(2, keepdim=True)
        return (by_place * values).sum(1)

    # A core each: products that threads share round by the number of threads.
    with one_core_each(torch.get_num_threads()) as pool:
        parts = list(pool.map(one_slice, range(len(maps))))
    found: FloatArray = torch.stack(parts, 1).reshape(len(given), len(maps), rows, columns).numpy()
    return found


def inside_cells(stack: SliceStack, cells: tuple[int, int]) -> FloatArray:
    """Return which share of every cell lies in the head, shape (n_slices, rows, columns)."""
    from mri_transfer.explain.patches import cell_means

    mask = head_mask(stack.pixels.transpose(1, 2, 0).astype(np.float32)).transpose(2, 0, 1)
    return cell_means(mask.astype(np.float32), cells).astype(np.float32)
