"""Maps of a scan's slices: which places of the trunk's maps made each slice's log-odds.

The rule is the gradient times the activation, element by element, at the layer whose pooled maps
are the features (HiResCAM: Draelos and Carin 2020, arXiv 2011.08891). It differs from Grad-CAM
(Selvaraju et al. 2017, ICCV), which first averages each channel's gradient over all places: where
features are the largest value of a channel, only the place of that value has a gradient, and
Grad-CAM would spread it over places that contributed nothing. Element by element the values of a
map add up to what the features contribute to the slice's log-odds, exactly for linear heads.

The contribution of the mean of the training patients, place by place, is subtracted
(`centred_maps`): what is left says how a patient differs from the average training patient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import one_core_each
from mri_transfer.explain.fold_model import feature_gradients, fold_model
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.explain.scan_maps import ScanMaps
from mri_transfer.models.pooling import Maxima, PoolMaps
from mri_transfer.scans.slices import SliceStack, head_mask
from mri_transfer.training.fitted_model import FittedModel

if TYPE_CHECKING:
    from mri_transfer.models.features import SliceEncoder

__all__ = [
    "Activations",
    "FeaturesByPooling",
    "explain_scan",
    "head_cams",
    "map_of_head",
    "spread",
]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
#: Of a scan, (n_slices, n_features) each.
FeaturesByPooling = Mapping[str, FloatArray]

#: With the repeat and the fold of a head, it draws how its weights are permuted.
_PERMUTATION_SEED = 20180831


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Activations:
    """What the trunk made of a scan's slices, as far as attribution needs it.

    Attributes
    ----------
    features : mapping of str to ndarray of float32, shape (n_slices, n_features)
        By pooling.
    maps : Tensor of float32, shape (n_slices, channels, rows, columns), or Maxima
        The maps themselves, or only where their largest values lie, which is enough for max
        pooling.
    """

    features: FeaturesByPooling
    maps: torch.Tensor | Maxima

    @classmethod
    def through(cls, trunk: SliceEncoder, stack: SliceStack, poolings: Iterable[str]) -> Self:
        """Pass a scan's slices through a trunk."""
        return cls.of_maps(trunk.forward_slices(torch.from_numpy(stack.pixels)).cpu(), poolings)

    @classmethod
    def of_maps(cls, maps: torch.Tensor, poolings: Iterable[str]) -> Self:
        """Return the maps of a scan with the features that they pool to."""
        features = {name: PoolMaps(name)(maps).contiguous().numpy() for name in poolings}
        return cls(features=features, maps=maps)

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the maps."""
        if isinstance(self.maps, Maxima):
            return self.maps.cells
        return self.maps.shape[2], self.maps.shape[3]

    def spread(self, gradients: FloatArray, pooling: str, *, averaged: bool = False) -> FloatArray:
        """Distribute gradients over places; parameters and value as those of `spread`."""
        if not isinstance(self.maps, Maxima):
            return spread(self.maps, gradients, pooling, averaged=averaged)
        if pooling != "max" or averaged:
            raise ValueError("only maps of max-pooled features follow from their largest values")
        given, features, maxima = torch.from_numpy(gradients), self.features["max"], self.maps

        def one_slice(s: int) -> torch.Tensor:
            return given[:, s] @ torch.from_numpy(maxima.spread(features, s))

        return _slice_by_slice(one_slice, len(features), self.cells)


def explain_scan(
    stack: SliceStack,
    activations: Sequence[Activations],
    trained: Sequence[FittedModel],
    *,
    patient_id: str,
    geometry: SliceGeometry,
    features: FeaturesByPooling,
    grad_cam: bool = False,
) -> ScanMaps:
    """Distribute every head's log-odds of a scan over places.

    Parameters
    ----------
    stack : SliceStack
    activations : sequence of Activations
        What each head reads of the scan: that of its own tail, or one and the same for all heads
        of a frozen trunk, with the features of every pooling that a head reads.
    trained : sequence of FittedModel
        Every outer fold of every repeat.
    patient_id : str
    geometry : SliceGeometry
    features : mapping of str to ndarray of float32, shape (n_slices, n_features)
        The run's own features of a frozen trunk by pooling, to be compared with those of the
        activations; empty where each head has a tail.
    grad_cam : bool
        Whether Grad-CAM is computed too, which needs whole maps.
    """
    first = [model for model in trained if model.repeat == trained[0].repeat]
    gradients, logits, weights = _of_heads(trained, activations, patient_id)
    weighted = [g * w[:, None] for g, w in zip(gradients, weights, strict=True)]
    own = weighted[: len(first)]
    permuted = [_permuted(model, gradient) for model, gradient in zip(first, own, strict=True)]
    return ScanMaps(
        exact=_joined(activations, trained, weighted),
        gradcam=_joined(activations, first, own, averaged=True)
        if grad_cam
        else np.zeros((0, len(stack.pixels), *activations[0].cells), dtype=np.float32),
        randomised=_joined(activations, first, permuted),
        logits=logits,
        weights=weights,
        inside=inside_cells(stack, activations[0].cells),
        shape=np.array(geometry.shape, dtype=np.int64),
        affine=geometry.affine,
        z_mm=geometry.z_mm,
        mismatch=_mismatch(activations[0].features, features),
    )


def head_cams(
    activations: Sequence[Activations], trained: Sequence[FittedModel], patient_id: str
) -> tuple[FloatArray, FloatArray]:
    """Return Grad-CAM of a scan by every head, and by heads of permuted weights.

    Parameters
    ----------
    activations, trained, patient_id
        As in `explain_scan`; activations hold whole maps.

    Returns
    -------
    own, randomised : ndarray of float32, shape (n_heads, n_slices, rows, columns)
    """
    gradients, _, weights = _of_heads(trained, activations, patient_id)
    weighted = [g * w[:, None] for g, w in zip(gradients, weights, strict=True)]
    permuted = [
        _permuted(model, gradient) for model, gradient in zip(trained, weighted, strict=True)
    ]
    own = _joined(activations, trained, weighted, averaged=True)
    return own, _joined(activations, trained, permuted, averaged=True)


def _mismatch(features: FeaturesByPooling, wanted: FeaturesByPooling) -> float:
    """Return the largest difference of features, as a share of the largest feature."""
    gaps = [
        float(np.abs(features[name] - own).max() / max(float(np.abs(own).max()), 1e-12))
        for name, own in wanted.items()
    ]
    return max(gaps, default=0.0)


def _of_heads(
    trained: Sequence[FittedModel], activations: Sequence[Activations], patient_id: str
) -> tuple[list[DoubleArray], FloatArray, FloatArray]:
    gradients, logits, weights = [], [], []
    for model, read in zip(trained, activations, strict=True):
        own = read.features[model.pooling]
        gradients.append(feature_gradients(fold_model(model, patient_id), own))
        output = model.on_features.slices(own[None], [patient_id])
        logits.append(output.logits[0])
        weights.append(output.weights[0])
    return gradients, np.stack(logits), np.stack(weights)


def _permuted(model: FittedModel, gradient: DoubleArray) -> DoubleArray:
    """Permute the gradient's channels, as if the head's weights belonged to other channels."""
    rng = np.random.default_rng([_PERMUTATION_SEED, model.repeat, model.fold])
    permuted: DoubleArray = gradient[:, rng.permutation(gradient.shape[1])]
    return permuted


def _joined(
    activations: Sequence[Activations],
    heads: Sequence[FittedModel],
    gradients: Sequence[DoubleArray],
    *,
    averaged: bool = False,
) -> FloatArray:
    joined = np.empty((len(heads), len(gradients[0]), *activations[0].cells), dtype=np.float32)
    # Heads that read the same maps in the same way are spread together.
    groups: dict[tuple[int, str], list[int]] = {}
    for i, model in enumerate(heads):
        groups.setdefault((id(activations[i]), model.pooling), []).append(i)
    for (_, pooling), members in groups.items():
        own = np.stack([gradients[i] for i in members]).astype(np.float32)
        joined[members] = activations[members[0]].spread(own, pooling, averaged=averaged)
    return joined


def map_of_head(
    stack: SliceStack,
    trunk: SliceEncoder,
    model: FittedModel,
    *,
    patient_id: str,
    weights: FloatArray,
) -> FloatArray:
    """Return one head's map of a scan through any trunk, shape (n_slices, rows, columns).

    Parameters
    ----------
    stack : SliceStack
    trunk : SliceEncoder
    model : FittedModel
    patient_id : str
    weights : ndarray of float32, shape (n_slices,)
        How much each slice counts.
    """
    activations = Activations.through(trunk, stack, [model.pooling])
    features = activations.features[model.pooling]
    gradient = feature_gradients(fold_model(model, patient_id), features) * weights[:, None]
    maps = activations.spread(gradient[None].astype(np.float32), model.pooling)
    return np.asarray(maps[0])


def spread(
    maps: torch.Tensor, gradients: FloatArray, pooling: str, *, averaged: bool = False
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
    averaged : bool
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
            share = share.mean(1, keepdim=True) if averaged else share
            return given[:, s] @ (values * share)
        by_place = given[:, s].reshape(len(given), *values.shape) * share
        if averaged:
            by_place = by_place.mean(2, keepdim=True)
        return (by_place * values).sum(1)

    return _slice_by_slice(one_slice, len(maps), (rows, columns))


def _slice_by_slice(
    one_slice: Callable[[int], torch.Tensor], n_slices: int, cells: tuple[int, int]
) -> FloatArray:
    """Stack what a function returns of each slice, (n_heads, rows * columns)."""
    # A core each: products that threads share round by the number of threads.
    with one_core_each(torch.get_num_threads()) as pool:
        parts = list(pool.map(one_slice, range(n_slices)))
    return np.asarray(torch.stack(parts, 1).reshape(-1, n_slices, *cells).numpy())


def inside_cells(stack: SliceStack, cells: tuple[int, int]) -> FloatArray:
    """Return which share of every cell lies in the head, shape (n_slices, rows, columns)."""
    from mri_transfer.explain.patches import cell_means

    mask = head_mask(stack.pixels.transpose(1, 2, 0).astype(np.float32)).transpose(2, 0, 1)
    return cell_means(mask.astype(np.float32), cells).astype(np.float32)
