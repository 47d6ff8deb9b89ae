"""Whether the parts of a bundle belong to one model: what is written twice, and arrays' shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import StoreError
from mri_transfer.models.tails.spec import cut_of

if TYPE_CHECKING:
    from mri_transfer.bundle.parts import BundleParts

__all__ = ["demand_one_model"]

#: Stored beside the final head, and in bundle.json for readers of that file alone.
_DECISION = ("procedure", "recalibration", "threshold", "threshold_from", "target_thresholds")


def demand_one_model(bundle: BundleParts) -> None:
    """Refuse a bundle whose parts contradict each other.

    Raises
    ------
    StoreError
        Naming the first contradiction.
    """
    for what, found, expected in (*_settings(bundle), *_shapes(bundle)):
        if found != expected:
            raise StoreError(
                f"the parts of the bundle contradict each other: {what}",
                found=str(found)[:200],
                expected=str(expected)[:200],
                remedy="Fetch the bundle again from whoever made it; do not mend it by hand",
            )


def _settings(bundle: BundleParts) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is written twice."""
    facts, config, head = bundle.facts, bundle.config, bundle.trained.head.facts
    labels = {"positive": config.labels.positive, "others": config.labels.others}
    yield "labels and recipe", facts["labels"], labels
    for name in ("name", "layer"):
        yield f"the trunk's {name} and recipe", facts["trunk"][name], getattr(config.trunk, name)
    for name in _DECISION:
        yield f"{name} and the final head's", facts[name], head[name]
    for one in (bundle.trained, *bundle.bootstrap):
        yield "pooling of the heads", one.pooling, bundle.procedure.pooling
        # Read as for predictions; raises HeadError if there is no such map.
        _ = one.recalibration
    yield from _tail(bundle)
    yield "features are there", bundle.features is not None, facts["with_features"]


def _tail(bundle: BundleParts) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is said of the tail in several places."""
    tail, config, facts = bundle.tail, bundle.config, bundle.facts
    yield "a tail is there", tail is not None, config.tuning.trains
    yield "a tail is described", facts.get("tail") is not None, config.tuning.trains
    if tail is None:
        return
    yield "the tail's settings and recipe", tail.spec, config.tuning
    yield "the tail's cut and recipe", tail.cut, cut_of(config.trunk, config.tuning)
    yield "the cut as described", facts["tail"]["cut"], tail.cut
    yield "the tail's trunk", tail.weights_digest, facts["trunk"]["digest"]


def _shapes(bundle: BundleParts) -> Iterator[tuple[str, Any, Any]]:
    """Yield the shapes of arrays, as whoever uses them expects them."""
    slices, size = bundle.config.slices.n_slices, bundle.config.slices.size_px
    n_features = bundle.contract.slice_means.shape[-1]
    yield "mean features", bundle.contract.slice_means.shape, (slices, n_features)
    yield "reference features", bundle.reference.features.shape[1:], (slices, n_features)
    yield "reference pictures", bundle.reference.pixels.shape[1:], (size, size)
    yield "reference pictures", bundle.reference.pixels.dtype, np.dtype(np.uint8)
    yield "grey values", bundle.contract.histogram.ndim, 1
    yield "arrays that are no finite numbers", list(_not_numbers(bundle)), []
    for table in () if bundle.features is None else bundle.features.tables.values():
        n = len(table.patient_ids)
        yield "training features", table.features.shape[:2], (n, slices)
        yield "heights of training slices", table.z_mm.shape, (n, slices)
    yield from _density_shapes(bundle.contract.density.tensors, n_features)
    sets = bundle.conformal
    if sets is not None:
        n = len(sets.scores)
        for name, values in (("folds", sets.fold), ("labels", sets.positive)):
            yield f"calibration {name}", (values.shape, values.dtype.kind), ((n,), "i")
        known = bool(np.isin(sets.fold, np.arange(len(sets.heads))).all())
        yield "folds and heads of the calibration", known, True
        yield "calibration patients", n, sets.facts["n_calibration"]
        for one in sets.heads:
            _ = one.recalibration


def _not_numbers(bundle: BundleParts) -> Iterator[str]:
    contract, sets = bundle.contract, bundle.conformal
    arrays: dict[str, npt.NDArray[Any]] = {
        "histogram": contract.histogram,
        "slice_means": contract.slice_means,
        **contract.density.tensors,
        **({} if sets is None else {"scores": sets.scores}),
        **({} if bundle.tail is None else bundle.tail.tensors),
    }
    for name, values in arrays.items():
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            yield name


def _density_shapes(tensors: Any, n_features: int) -> Iterator[tuple[str, Any, Any]]:
    names = {"mean", "components", "deviation", "residual", "distances"}
    yield "arrays of the density", set(tensors), names
    n_axes = len(tensors["deviation"])
    yield "middle of the density", tensors["mean"].shape, (n_features,)
    yield "axes of the density", tensors["components"].shape, (n_axes, n_features)
    yield "residual of the density", tensors["residual"].shape, (1,)
    yield "distances of the density", tensors["distances"].ndim, 1
