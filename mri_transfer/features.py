"""Features: what the frozen trunk makes of a scan's slices, and the store that keeps them.

A feature is a pure function of one scan, so the store is addressed by content: the key holds the
scan's bytes, every Spec that shaped the slices, the trunk and its weights, and the precision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic.dataclasses import dataclass

from mri_transfer.slices import SliceStack
from mri_transfer.specs import STRICT, digest, spec_dict
from mri_transfer.store import ContentStore
from mri_transfer.tensorfile import read_tensors, write_tensors
from mri_transfer.trunks import (
    Trunk,
    TrunkSpec,
    native_precision,
    resolve_device,
    trunk_digest,
)

__all__ = [
    "FeatureSpec",
    "FeatureStore",
    "FeatureTable",
    "ScanFeatures",
    "encode",
    "feature_key",
    "resolve_features",
]

FloatArray = npt.NDArray[np.float32]

_SCHEMA = "mri-transfer/features/1"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FeatureSpec:
    """How feature maps become a vector per slice, and how the trunk computes."""

    pooling: Literal["max", "average", "flatten"] = "max"
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
    scan_ids, patient_ids : tuple of str, length n_scans
        Each scan and whose it is.
    features : ndarray of float32, shape (n_scans, n_slices, n_features)
    z_mm : ndarray of float32, shape (n_scans, n_slices)
    """

    scan_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    features: FloatArray
    z_mm: FloatArray

    @classmethod
    def collect(cls, scans: Iterable[ScanFeatures], patient_ids: Sequence[str]) -> FeatureTable:
        """Stack scans; only one copy of the features is held.

        Parameters
        ----------
        scans : iterable of ScanFeatures
            All with the same number of slices and features.
        patient_ids : sequence of str
            The patient of each scan, in the same order.
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
            features=features,
            z_mm=np.stack(z_mm),
        )


def resolve_features(spec: FeatureSpec) -> FeatureSpec:
    """Return the spec with `auto` replaced by what this machine has."""
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
    if "auto" in (feature_spec.precision, feature_spec.device):
        raise ValueError("resolve the spec first: a key must not hold 'auto'")
    trunk = spec_dict(trunk_spec)
    if trunk_spec.weights != "random":
        del trunk["seed"]
    return digest(
        {
            "kind": "features/1",
            "slices": slices,
            "trunk": trunk,
            "weights": trunk_digest(trunk_spec),
            "features": spec_dict(feature_spec),
        }
    )


def encode(stack: SliceStack, trunk: Trunk, spec: FeatureSpec) -> ScanFeatures:
    """Pass one scan's slices through the trunk.

    Parameters
    ----------
    stack : SliceStack
    trunk : Trunk
    spec : FeatureSpec

    Returns
    -------
    ScanFeatures
        float32, whatever the trunk computed in.
    """
    import torch

    maps = trunk.forward_slices(torch.from_numpy(stack.pixels))
    if spec.pooling == "flatten":
        vectors = maps.flatten(1)
    elif spec.pooling == "average":
        vectors = maps.mean((2, 3))
    else:
        vectors = maps.amax((2, 3))
    return ScanFeatures(
        scan_id=stack.scan_id, features=vectors.cpu().contiguous().numpy(), z_mm=stack.z_mm
    )


class FeatureStore(ContentStore):
    """Features, addressed by `feature_key`."""

    kind = "features"

    def put(self, key: str, scan: ScanFeatures) -> None:
        """Store a scan's features."""
        tensors: dict[str, npt.NDArray[Any]] = {"features": scan.features, "z_mm": scan.z_mm}
        write_tensors(self.path(key), tensors, schema=_SCHEMA)

    def get(self, key: str, *, scan_id: str) -> ScanFeatures:
        """Read a scan's features; raises StoreError if the file is damaged."""
        tensors = read_tensors(self.path(key), schema=_SCHEMA)
        return ScanFeatures(scan_id=scan_id, features=tensors["features"], z_mm=tensors["z_mm"])
