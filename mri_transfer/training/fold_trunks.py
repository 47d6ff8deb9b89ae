"""Trunks of the folds of a run that trains tails, and the features that they make.

Each fold has a tail of its own, so that a scan has other features for each head. They are made when
they are asked for, and kept in the cache.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mri_transfer.core.specs import digest
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureStore, FeatureTable, ScanFeatures
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.tails.tail import TailSource
from mri_transfer.models.tails.tuned_trunk import TunedTrunk
from mri_transfer.models.trunks import Trunk, TrunkSpec
from mri_transfer.training.fitted_model import FittedModel

if TYPE_CHECKING:
    import torch

__all__ = ["FoldTrunks", "TunedTables", "tuned_key"]

FloatArray = npt.NDArray[np.float32]

#: Folds whose trunks are held in memory; the others are put together again when they are needed.
_N_HELD = 8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FoldTrunks:
    """The trunks of the folds of a run, put together from what they share.

    Attributes
    ----------
    spec : TrunkSpec
        As configured.
    source : TailSource
        What tails start from.
    prefix : Trunk or None
        The trunk to the cut, as the run computes; None where every stage is trained.
    whole : Trunk
        As folds find it: in single precision, on a processor, never tuned.
    """

    spec: TrunkSpec
    source: TailSource
    prefix: Trunk | None
    whole: Trunk

    @functools.cached_property
    def _held(self) -> dict[str, TunedTrunk]:
        return {}

    def of(self, model: FittedModel) -> TunedTrunk:
        """Return the trunk of a fold."""
        assert model.tail is not None
        if model.reads not in self._held:
            while len(self._held) >= _N_HELD:
                del self._held[next(iter(self._held))]
            self._held[model.reads] = TunedTrunk(
                spec=self.spec,
                tail=model.tail.with_source(self.source),
                prefix=self.prefix,
                whole=self.whole,
            )
        return self._held[model.reads]


def tuned_key(feature_key: str, model: FittedModel) -> str:
    """Return the key of a scan's features as a fold's tail makes them.

    Parameters
    ----------
    feature_key : str
        Of the scan's features by the frozen trunk: it holds slices, trunk, precision and pooling.
    model : FittedModel
    """
    assert model.tail is not None
    return digest({"kind": "tuned features/1", "of": feature_key, "tail": model.tail.digest})


class TunedTables(Mapping[str, FeatureTable]):
    """Features of a run's scans by what models read, each by the tail of its fold.

    Parameters
    ----------
    trunks : FoldTrunks
    trained : sequence of FittedModel
    frozen : FeatureTable
        Of the run's scans, by any pooling.
    activations : ActivationTable
        What lies at the cut, in the same order.
    keys : mapping of str to sequence of str
        The keys of the frozen trunk's features by pooling, in the same order.
    cache : Path
    held_out : mapping of str to collection of str, optional
        By what a model reads: the patients whose features are asked for. Those of the others are
        not computed; they are not numbers.
    """

    def __init__(
        self,
        trunks: FoldTrunks,
        trained: Sequence[FittedModel],
        frozen: FeatureTable,
        *,
        activations: ActivationTable,
        keys: Mapping[str, Sequence[str]],
        cache: Path,
        held_out: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._trunks, self._frozen, self._held_out = trunks, frozen, held_out
        self._activations, self._keys = activations, keys
        self._models = {model.reads: model for model in trained}
        self._store = FeatureStore(cache)

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def __getitem__(self, name: str) -> FeatureTable:
        model, frozen = self._models[name], self._frozen
        wanted = set(frozen.patient_ids if self._held_out is None else self._held_out[name])
        rows = [i for i, owner in enumerate(frozen.patient_ids) if owner in wanted]
        own = [self.features(model, i) for i in rows]
        shape = own[0].shape if own else frozen.features.shape[1:]
        features = np.full((len(frozen.scan_ids), *shape), np.nan, dtype=np.float32)
        features[rows] = own
        return dataclasses.replace(frozen, features=features)

    def features(self, model: FittedModel, scan: int) -> FloatArray:
        """Return the features of a scan by its position, shape (n_slices, n_features)."""
        key = self._key(model, scan)
        if key in self._store:
            return self._store.get(key, scan_id=self._frozen.scan_ids[scan]).features
        return self._pooled(key, model, scan, self._pass(model, scan))

    def maps(self, model: FittedModel, scan: int) -> torch.Tensor:
        """Return the maps of a scan by its position, (n_slices, channels, rows, columns)."""
        key, maps = self._key(model, scan), self._pass(model, scan)
        if key not in self._store:
            self._pooled(key, model, scan, maps)
        return maps

    def _key(self, model: FittedModel, scan: int) -> str:
        return tuned_key(self._keys[model.pooling][scan], model)

    def _pass(self, model: FittedModel, scan: int) -> torch.Tensor:
        return self._trunks.of(model).resume(self._activations.read(scan)).cpu()

    def _pooled(self, key: str, model: FittedModel, scan: int, maps: torch.Tensor) -> FloatArray:
        """Put a scan's features into the cache and return them."""
        features: FloatArray = PoolMaps(model.pooling)(maps).contiguous().numpy()
        scan_id, z_mm = self._frozen.scan_ids[scan], self._frozen.z_mm[scan]
        self._store.put(key, ScanFeatures(scan_id=scan_id, features=features, z_mm=z_mm))
        return features
