"""Features: what the frozen trunk makes of a scan's slices, and the store that keeps them.

A feature is a pure function of one scan, so the store is addressed by content: the key holds the
scan's bytes, every Spec that shaped the slices, the trunk and its weights, the precision and how
convolutions are computed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic.dataclasses import dataclass

from mri_transfer.core.grouping import positions_by_name
from mri_transfer.core.notebook import html_table
from mri_transfer.core.specs import STRICT, digest, spec_dict
from mri_transfer.core.store import TensorStore
from mri_transfer.models.pooling_methods import Pooling
from mri_transfer.models.trunks import (
    TrunkSpec,
    native_precision,
    resolve_device,
    trunk_arithmetic,
    trunk_digest,
)
from mri_transfer.scans.slices import SliceStack

if TYPE_CHECKING:
    import torch

    from mri_transfer.models.pooling import Maxima
    from mri_transfer.models.trunks import FloatPrecision

__all__ = [
    "FeatureSpec",
    "FeatureStore",
    "FeatureTable",
    "MaximaStore",
    "Pooling",
    "ScanFeatures",
    "SliceEncoder",
    "encode",
    "encode_poolings",
    "encode_with_maxima",
    "feature_key",
    "resolve_features",
]

FloatArray = npt.NDArray[np.float32]

_SCHEMA = "mri-transfer/features/1"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FeatureSpec:
    """How feature maps become a vector per slice, and how the trunk computes."""

    pooling: Pooling = "max"
    """`flatten` keeps every position of the map (channels x rows x columns numbers)."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 where the device computes it natively, else fp32. Part of the key."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA if there is one. Part of the key, since devices round differently."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanFeatures:
    """One scan's features.

    Attributes
    ----------
    scan_id : str
    features : ndarray of float32, shape (n_slices, n_features)
    z_mm : ndarray of float32, shape (n_slices,)
        World height of each slice in millimetres.
    """

    scan_id: str
    features: FloatArray
    z_mm: FloatArray


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeatureTable:
    """The features of a cohort, scan by scan. Labels are no part of it.

    Attributes
    ----------
    scan_ids, patient_ids, scan_sha256 : tuple of str, length n_scans
        Each scan, whose it is, and the digest of the file it was read from.
    features : ndarray of float32, shape (n_scans, n_slices, n_features)
    z_mm : ndarray of float32, shape (n_scans, n_slices)
    """

    scan_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    scan_sha256: tuple[str, ...]
    features: FloatArray
    z_mm: FloatArray

    @classmethod
    def collect(
        cls, scans: Iterable[ScanFeatures], patient_ids: Sequence[str], scan_sha256: Sequence[str]
    ) -> FeatureTable:
        """Stack scans; only one copy of the features is held.

        Parameters
        ----------
        scans : iterable of ScanFeatures
            All with the same number of slices and features.
        patient_ids, scan_sha256 : sequence of str
            The patient and the file's digest of each scan, in the same order.
        """
        features: FloatArray | None = None
        names: list[str] = []
        z_mm: list[FloatArray] = []
        for i, scan in enumerate(scans):
            if features is None:
                features = np.empty((len(patient_ids), *scan.features.shape), dtype=np.float32)
            features[i] = scan.features
            names.append(scan.scan_id)
            z_mm.append(scan.z_mm)
        if features is None or len(names) != len(patient_ids):
            raise ValueError(f"{len(names)} scans for {len(patient_ids)} patient ids")
        return cls(
            scan_ids=tuple(names),
            patient_ids=tuple(patient_ids),
            scan_sha256=tuple(scan_sha256),
            features=features,
            z_mm=np.stack(z_mm),
        )

    def rows(self, rows: Sequence[int]) -> FeatureTable:
        """Return some scans, in arrays of their own."""
        return FeatureTable(
            scan_ids=tuple(self.scan_ids[i] for i in rows),
            patient_ids=tuple(self.patient_ids[i] for i in rows),
            scan_sha256=tuple(self.scan_sha256[i] for i in rows),
            features=_taken(self.features, rows),
            z_mm=_taken(self.z_mm, rows),
        )

    def joined(self, other: FeatureTable) -> FeatureTable:
        """Return the scans of both tables, one behind the other."""
        return FeatureTable(
            scan_ids=self.scan_ids + other.scan_ids,
            patient_ids=self.patient_ids + other.patient_ids,
            scan_sha256=self.scan_sha256 + other.scan_sha256,
            features=np.concatenate([self.features, other.features]),
            z_mm=np.concatenate([self.z_mm, other.z_mm]),
        )

    def scans(self) -> list[ScanFeatures]:
        """Return the features of each scan."""
        return [
            ScanFeatures(scan_id=scan_id, features=self.features[i], z_mm=self.z_mm[i])
            for i, scan_id in enumerate(self.scan_ids)
        ]

    def patient_means(self) -> tuple[tuple[str, ...], FloatArray]:
        """Return the patients, sorted, and the mean of their slices, (n_patients, n_features)."""
        scans_of = positions_by_name(self.patient_ids)
        names = tuple(sorted(scans_of))
        means = [self.features[scans_of[name]].mean(axis=(0, 1)) for name in names]
        return names, np.stack(means)

    def sorted(self) -> FeatureTable:
        """Return the table by patient and scan; itself if it is in that order already."""
        keys = list(zip(self.patient_ids, self.scan_ids, strict=True))
        order = sorted(range(len(keys)), key=lambda i: keys[i])
        return self if order == list(range(len(keys))) else self.rows(order)

    def _repr_html_(self) -> str:
        n_scans, n_slices, n_features = self.features.shape
        rows = {
            "scans": n_scans,
            "patients": len(set(self.patient_ids)),
            "slices per scan": n_slices,
            "features per slice": n_features,
        }
        return html_table(rows, caption="Features")


def _taken(array: FloatArray, rows: Sequence[int]) -> FloatArray:
    # Of a plain array, also where features are memory-mapped: the copy holds on to no file.
    return np.take(np.asarray(array), np.asarray(rows, dtype=np.intp), axis=0)


def resolve_features(spec: FeatureSpec) -> FeatureSpec:
    """Return the spec with `auto` replaced by what this machine has."""
    if "auto" not in (spec.device, spec.precision):
        # What was computed elsewhere can be read here.
        return spec
    device = resolve_device(spec.device)
    precision = native_precision(device) if spec.precision == "auto" else spec.precision
    return dataclasses.replace(spec, device=device, precision=precision)


def feature_key(*, slices: str, trunk_spec: TrunkSpec, feature_spec: FeatureSpec) -> str:
    """Return the key of a scan's features.

    Parameters
    ----------
    slices : str
        The slices' key.
    trunk_spec : TrunkSpec
    feature_spec : FeatureSpec
        Resolved: without `auto`.
    """
    if feature_spec.precision == "auto" or feature_spec.device == "auto":
        raise ValueError("resolve the spec first: a key must not hold 'auto'")
    trunk = spec_dict(trunk_spec)
    # It stands under `weights`, whether the spec or the registry knows it.
    del trunk["digest"]
    if trunk_spec.weights != "random":
        del trunk["seed"]
    parts = {
        "kind": "features/1",
        "slices": slices,
        "trunk": trunk,
        "weights": trunk_digest(trunk_spec),
        "features": spec_dict(feature_spec),
    }
    arithmetic = trunk_arithmetic(
        trunk_spec, precision=feature_spec.precision, device=feature_spec.device
    )
    # Keys of what is computed directly stay as they were before there was another way.
    if arithmetic != "direct":
        parts["arithmetic"] = arithmetic
    return digest(parts)


class SliceEncoder(Protocol):
    """What slices are passed through: a frozen trunk, or a trunk with a trained tail."""

    @property
    def precision(self) -> FloatPrecision:
        """What it computes in."""

    def forward_slices(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the maps (n, channels, rows, columns) of slices (n, height, width), float32."""


def encode(stack: SliceStack, trunk: SliceEncoder, spec: FeatureSpec) -> ScanFeatures:
    """Pass one scan's slices through the trunk.

    Parameters
    ----------
    stack : SliceStack
    trunk : SliceEncoder
    spec : FeatureSpec

    Returns
    -------
    ScanFeatures
        float32, whatever the trunk computed in.
    """
    return encode_poolings(stack, trunk, [spec.pooling])[spec.pooling]


def encode_poolings(
    stack: SliceStack, trunk: SliceEncoder, poolings: Iterable[str]
) -> dict[str, ScanFeatures]:
    """Pass one scan's slices through the trunk once, and pool the maps in several ways.

    Parameters
    ----------
    stack : SliceStack
    trunk : SliceEncoder
    poolings : iterable
        Values of `FeatureSpec.pooling`.
    """
    import torch

    return _pooled(stack, trunk.forward_slices(torch.from_numpy(stack.pixels)), poolings)


def encode_with_maxima(
    stack: SliceStack, trunk: SliceEncoder, poolings: Iterable[str]
) -> tuple[dict[str, ScanFeatures], Maxima]:
    """Do what `encode_poolings` does, and find where the largest values lie in the same pass."""
    import torch

    from mri_transfer.models.pooling import Maxima

    maps = trunk.forward_slices(torch.from_numpy(stack.pixels))
    return _pooled(stack, maps, poolings), Maxima.of(maps)


def _pooled(
    stack: SliceStack, maps: torch.Tensor, poolings: Iterable[str]
) -> dict[str, ScanFeatures]:
    from mri_transfer.models.pooling import PoolMaps

    return {
        pooling: ScanFeatures(
            scan_id=stack.scan_id,
            features=PoolMaps(pooling)(maps).cpu().contiguous().numpy(),
            z_mm=stack.z_mm,
        )
        for pooling in poolings
    }


class FeatureStore(TensorStore):
    """Features, addressed by `feature_key`."""

    kind = "features"
    schema = _SCHEMA

    def put(self, key: str, scan: ScanFeatures) -> None:
        """Store a scan's features."""
        self._write(key, {"features": scan.features, "z_mm": scan.z_mm})

    def get(self, key: str, *, scan_id: str) -> ScanFeatures:
        """Read a scan's features; raises StoreError if they cannot be trusted."""
        tensors = self._read(key)
        return ScanFeatures(scan_id=scan_id, features=tensors["features"], z_mm=tensors["z_mm"])


class MaximaStore(TensorStore):
    """Where the largest values of max-pooled features lie, by the key of the features."""

    kind = "maxima"
    schema = "mri-transfer/maxima/1"

    def put(self, key: str, maxima: Maxima, features: FloatArray) -> None:
        """Store where features have their largest values.

        Parameters
        ----------
        key : str
            Of the features.
        maxima : Maxima
        features : ndarray of float32, shape (n_slices, n_features)
            Max-pooled in the same pass of the trunk.
        """
        cells, digest = np.array(maxima.cells, dtype=np.int64), _bytes_digest(features)
        self._write(
            key, {"cells": cells, "first": maxima.first, "ties": maxima.ties, "features": digest}
        )

    def find(self, key: str, features: FloatArray) -> Maxima | None:
        """Return where features have their largest values; None if it is not known.

        It is not where the cache was filled before it was kept, where the entry is damaged, and
        where it is of features of another pass, which may differ by rounding.

        Parameters
        ----------
        key, features
            As in `put`.
        """
        from mri_transfer.models.pooling import Maxima

        if key not in self:
            return None
        tensors = self._read(key)
        if not np.array_equal(tensors["features"], _bytes_digest(features)):
            return None
        rows, columns = (int(extent) for extent in tensors["cells"])
        return Maxima(cells=(rows, columns), first=tensors["first"], ties=tensors["ties"])


def _bytes_digest(features: FloatArray) -> npt.NDArray[np.uint8]:
    digest = hashlib.sha256(np.ascontiguousarray(features).tobytes()).digest()
    return np.frombuffer(digest, dtype=np.uint8)
