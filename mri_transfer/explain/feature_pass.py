"""One slice through a network, stage by stage, with what training changed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.threads import one_core_each
from mri_transfer.explain.choice import ChosenPatient
from mri_transfer.explain.feature_maps import FeatureMaps, FeatureMapsDocument, StageMaps
from mri_transfer.models.trunks import TrunkNetwork
from mri_transfer.scans.slices import SliceStack, head_mask

__all__ = ["pass_slice"]

FloatArray = npt.NDArray[np.float32]

#: Channels of a stage and filters that are shown.
_N_CHANNELS, _N_FILTERS = 6, 12


def pass_slice(
    stack: SliceStack,
    patient: ChosenPatient,
    *,
    untuned: TrunkNetwork,
    tuned: TrunkNetwork | None,
    repeat: int,
    fold: int,
) -> FeatureMaps:
    """Pass the middle slice of a held-out patient through the network of a fold.

    Channels are those with the largest mean size inside the head. One thread computes, so that the
    bytes do not depend on how many there are.

    Parameters
    ----------
    stack : SliceStack
    patient : ChosenPatient
        Must not have trained the fold.
    untuned : TrunkNetwork
        The whole network as the folds find it, on a processor; nothing behind its cut.
    tuned : TrunkNetwork or None
        The same with the fold's own tail in it; None where the trunk is frozen.
    repeat, fold : int
        The fold.
    """
    at = len(stack.pixels) // 2
    pixels = torch.from_numpy(stack.pixels[at : at + 1])
    with one_core_each(1) as pool:
        before = pool.submit(_stage_maps, untuned, pixels).result()
        after = before if tuned is None else pool.submit(_stage_maps, tuned, pixels).result()
    head = torch.from_numpy(head_mask(stack.pixels[at].astype(np.float32)[..., None])[..., 0])
    shown = {name: _strongest(maps, head.float()[None]) for name, maps in after.items()}
    last = list(after)[-1]
    changed = [] if tuned is None else _changed_filters(untuned, tuned)
    document = FeatureMapsDocument(
        scan_id=stack.scan_id,
        patient_id=patient.patient_id,
        label=patient.label,
        slice=at,
        z_mm=float(stack.z_mm[at]),
        repeat=repeat,
        fold=fold,
        tuned=tuned is not None,
        stages=tuple(_described(name, after[name], shown[name]) for name in after),
        filters=tuple(changed),
    )
    scaled = {name: after[name][shown[name]] for name in after}
    return FeatureMaps(
        document=document,
        slice=stack.pixels[at],
        stages=tuple(
            _grey(maps, scaled_with=before[name][shown[name]] if name == last else maps)
            for name, maps in scaled.items()
        ),
        untuned=None
        if tuned is None
        else _grey(before[last][shown[last]], scaled_with=scaled[last]),
        filters=np.stack([_grey_kernels(one)[changed] for one in (untuned, tuned)])
        if tuned is not None and changed
        else None,
    )


def _stage_maps(network: TrunkNetwork, pixels: torch.Tensor) -> dict[str, FloatArray]:
    """Return each stage's maps of one slice, shape (channels, rows, columns)."""
    found = {}
    with torch.inference_mode():
        x = network.to_input(pixels)
        for name, stage in _stages(network):
            x = stage(x)
            found[name] = np.asarray(x[0].float().numpy())
    return found


def _stages(network: TrunkNetwork) -> Iterator[tuple[str, torch.nn.Module]]:
    yield from network.prefix.named_children()
    yield from network.tail.named_children()


def _strongest(maps: FloatArray, head: torch.Tensor) -> list[int]:
    # Of many channels the strongest place is the even background.
    inside = torch.nn.functional.adaptive_avg_pool2d(head, maps.shape[1:])[0].numpy()
    sizes = (np.abs(maps) * inside).sum(axis=(1, 2), dtype=np.float64)
    return [int(channel) for channel in np.argsort(-sizes, kind="stable")[:_N_CHANNELS]]


def _described(name: str, maps: FloatArray, shown: list[int]) -> StageMaps:
    n_channels, rows, columns = maps.shape
    return StageMaps(
        name=name, n_channels=n_channels, rows=rows, columns=columns, channels=tuple(shown)
    )


def _grey(maps: FloatArray, *, scaled_with: FloatArray) -> npt.NDArray[np.uint8]:
    """Return maps as grey values; 0 and 255 are a channel's extremes in them and another's."""
    both = np.concatenate([maps, scaled_with], axis=1)
    low, high = (extreme(both, axis=(1, 2), keepdims=True) for extreme in (np.min, np.max))
    spread = np.where(high > low, high - low, 1)
    grey: npt.NDArray[np.uint8] = np.rint(255 * (maps - low) / spread).astype(np.uint8)
    return grey


def _changed_filters(untuned: TrunkNetwork, tuned: TrunkNetwork) -> list[int]:
    """Return the first convolution's channels that training changed, most changed first."""
    moved = np.abs(_grey_kernels(tuned) - _grey_kernels(untuned)).sum(axis=(1, 2))
    order = np.argsort(-moved, kind="stable")[:_N_FILTERS].tolist()
    return [channel for channel in order if moved[channel] > 0]


def _grey_kernels(network: TrunkNetwork) -> FloatArray:
    """Return what the first convolution's kernels do to a grey slice, (channels, rows, columns).

    A slice fills all three input channels, so that kernels add up, each over its deviation.
    """
    kernel = next(
        layer.weight.detach() for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)
    )
    deviation = torch.tensor(network.scaling.deviation, dtype=kernel.dtype).view(1, -1, 1, 1)
    return np.asarray((kernel / deviation).sum(dim=1).float().numpy())
