"""TunedTrunk: slices to maps through the frozen prefix and a trained tail, as in training."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Literal

import torch

from mri_transfer.core.threads import one_core_each
from mri_transfer.models.features import FeatureSpec
from mri_transfer.models.tails.spec import source_trunk
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.trunks import (
    INPUT,
    FloatPrecision,
    Trunk,
    TrunkNetwork,
    TrunkSpec,
    load_trunk,
)

__all__ = ["TunedTrunk", "load_tuned_trunk", "open_model_trunk"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TunedTrunk:
    """A trunk with a trained tail in it; it never changes.

    Attributes
    ----------
    spec : TrunkSpec
        Of the trunk that the tail continues, to the stage that is read out.
    tail : Tail
        With its source.
    prefix : Trunk or None
        The trunk to the cut; None where every stage was trained.
    whole : Trunk
        The trunk that the tail continues, to the stage that is read out, in single precision on a
        processor.
    """

    spec: TrunkSpec
    tail: Tail
    prefix: Trunk | None
    whole: Trunk

    @functools.cached_property
    def network(self) -> TrunkNetwork:
        """The whole of it in plain layers, in single precision on a processor."""
        return self.tail.whole(self.whole)

    @property
    def source(self) -> TailSource:
        """What the tail starts from, and how it computes."""
        assert self.tail.source is not None  # load_tuned_trunk
        return self.tail.source

    @property
    def precision(self) -> FloatPrecision:
        """What products are computed in."""
        return self.source.precision

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where slices are passed through."""
        return self.source.device

    @functools.cached_property
    def _stages(self) -> TrunkNetwork:
        return self.tail.network().to(self.source.device)

    def forward_slices(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pass slices through prefix and tail.

        Parameters
        ----------
        pixels : Tensor of uint8, shape (n, height, width)
            Grey values 0..255; each fills the three channels.

        Returns
        -------
        Tensor of float32, shape (n, channels, rows, columns)
            The maps of `spec.layer`, on the tail's device.
        """
        kept = pixels if self.prefix is None else self.prefix.forward_slices(pixels)
        if self.prefix is not None and self.precision == "bf16":
            # As the cache holds them; exact, since they were computed in it.
            kept = kept.to(torch.bfloat16)
        return self.resume(kept)

    def resume(self, kept: torch.Tensor) -> torch.Tensor:
        """Pass what lies at the cut through the tail.

        Parameters
        ----------
        kept : Tensor
            Of some slices, as `ActivationTable.read` returns it.

        Returns
        -------
        Tensor of float32, shape (n, channels, rows, columns)
            As `forward_slices` returns it.
        """
        if self.source.device == "cuda":
            return self.source.resume(self._stages, kept)
        stages = self._stages
        with one_core_each(torch.get_num_threads()) as pool:
            return self.source.resume(stages, kept, run=pool.map)


def load_tuned_trunk(
    spec: TrunkSpec,
    tail: Tail,
    features: FeatureSpec,
    *,
    weights_path: Path | None = None,
    cache: Path | None = None,
) -> TunedTrunk:
    """Build the trunk that a tail continues, load its weights, and put the tail in.

    Parameters
    ----------
    spec : TrunkSpec
        As configured.
    tail : Tail
        Its source may be missing.
    features : FeatureSpec
        Precision and device that prefix and tail compute with.
    weights_path, cache
        As in `load_trunk`.

    Raises
    ------
    HeadError
        If the tail continues another trunk.
    WeightsError
        If no source has the weights.
    """
    start = source_trunk(spec, tail.spec)
    whole = load_trunk(
        start, precision="fp32", device="cpu", weights_path=weights_path, cache=cache
    )
    known = tail.with_source(TailSource.of_trunk(whole, tail.spec, features))
    prefix = None
    if tail.cut != INPUT:
        prefix = load_trunk(
            dataclasses.replace(start, layer=tail.cut),
            precision=features.precision,
            device=features.device,
            weights_path=weights_path,
            cache=cache,
        )
    return TunedTrunk(spec=spec, tail=known, prefix=prefix, whole=whole)


def open_model_trunk(
    spec: TrunkSpec,
    features: FeatureSpec,
    tail: Tail | None,
    *,
    weights_path: Path | None = None,
    cache: Path | None = None,
) -> Trunk | TunedTrunk:
    """Load the trunk of a model: with its tail, or frozen where it has none.

    Parameters
    ----------
    spec : TrunkSpec
    features : FeatureSpec
        Its precision and device are computed with.
    tail : Tail or None
    weights_path, cache
        As in `load_trunk`.
    """
    if tail is not None:
        return load_tuned_trunk(spec, tail, features, weights_path=weights_path, cache=cache)
    return load_trunk(
        spec,
        precision=features.precision,
        device=features.device,
        weights_path=weights_path,
        cache=cache,
    )
