"""Trunks with the tails of several fits, and the features that they make of the same scans.

Each fold of a run has a tail of its own, so that a scan has other features for each head. They are
made when they are asked for, and kept in the cache.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mri_transfer.core.specs import digest
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureStore, FeatureTable, ScanFeatures
from mri_transfer.models.pooling import PoolMaps
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.tuned_trunk import TunedTrunk
from mri_transfer.models.trunks import Trunk, TrunkSpec

__all__ = ["Reader", "TailTrunks", "TunedTables", "tuned_key"]

FloatArray = npt.NDArray[np.float32]

#: Tails whose trunks are held in memory; the others are put together again when they are needed.
_N_HELD = 8


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Reader:
    """What a head reads: the features of a tail, pooled."""

    tail: Tail
    pooling: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TailTrunks:
    """Trunks with several tails, put together from what they share.

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

    def of(self, tail: Tail) -> TunedTrunk:
        """Return the trunk with a tail in it."""
        if tail.digest not in self._held:
            while len(self._held) >= _N_HELD:
                del self._held[next(iter(self._held))]
            self._held[tail.digest] = TunedTrunk(
                spec=self.spec,
                tail=tail.with_source(self.source),
                prefix=self.prefix,
                whole=self.whole,
            )
        return self._held[tail.digest]


def tuned_key(feature_key: str, tail: Tail) -> str:
    """Return the key of a scan's features as a tail makes them.

    Parameters
    ----------
    feature_key : str
        Of the scan's features by the frozen trunk: it holds slices, trunk, precision and pooling.
    tail : Tail
    """
    return digest({"kind": "tuned features/1", "of": feature_key, "tail": tail.digest})


class TunedTables(Mapping[str, FeatureTable]):
    """Features of the same scans by the names of those who read them.

    Parameters
    ----------
    trunks : TailTrunks
    readers : mapping of str to Reader
    frozen : FeatureTable
        Of the scans, by any pooling.
    activations : ActivationTable
        What lies at the cut, in the same order.
    keys : mapping of str to sequence of str
        The keys of the frozen trunk's features by pooling, in the same order.
    cache : Path
    patients : mapping of str to collection of str, optional
        By reader: the patients whose features are asked for. Those of the others are
        not computed; they are not numbers.
    """

    def __init__(
        self,
        trunks: TailTrunks,
        readers: Mapping[str, Reader],
        frozen: FeatureTable,
        *,
        activations: ActivationTable,
        keys: Mapping[str, Sequence[str]],
        cache: Path,
        patients: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self._trunks, self._readers, self._frozen = trunks, readers, frozen
        self._activations, self._keys, self._patients = activations, keys, patients
        self._store = FeatureStore(cache)

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)

    def __getitem__(self, name: str) -> FeatureTable:
        frozen = self._frozen
        wanted = set(frozen.patient_ids if self._patients is None else self._patients[name])
        rows = [i for i, owner in enumerate(frozen.patient_ids) if owner in wanted]
        own = [self.features(name, i) for i in rows]
        shape = own[0].shape if own else frozen.features.shape[1:]
        features = np.full((len(frozen.scan_ids), *shape), np.nan, dtype=np.float32)
        if rows:
            features[rows] = own
        return dataclasses.replace(frozen, features=features)

    def features(self, name: str, scan: int) -> FloatArray:
        """Return the features of a scan by its position, shape (n_slices, n_features)."""
        key = self._key(name, scan)
        if key in self._store:
            return self._store.get(key, scan_id=self._frozen.scan_ids[scan]).features
        return self._pooled(key, name, scan, self._pass(name, scan))

    def maps(self, name: str, scan: int) -> torch.Tensor:
        """Return the maps of a scan by its position, (n_slices, channels, rows, columns)."""
        key, maps = self._key(name, scan), self._pass(name, scan)
        if key not in self._store:
            self._pooled(key, name, scan, maps)
        return maps

    def _key(self, name: str, scan: int) -> str:
        reader = self._readers[name]
        return tuned_key(self._keys[reader.pooling][scan], reader.tail)

    def _pass(self, name: str, scan: int) -> torch.Tensor:
        return self._trunks.of(self._readers[name].tail).resume(self._activations.read(scan)).cpu()

    def _pooled(self, key: str, name: str, scan: int, maps: torch.Tensor) -> FloatArray:
        """Put a scan's features into the cache and return them."""
        features: FloatArray = PoolMaps(self._readers[name].pooling)(maps).contiguous().numpy()
        scan_id, z_mm = self._frozen.scan_ids[scan], self._frozen.z_mm[scan]
        self._store.put(key, ScanFeatures(scan_id=scan_id, features=features, z_mm=z_mm))
        return features
