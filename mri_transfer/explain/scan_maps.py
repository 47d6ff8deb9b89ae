"""ScanMaps: what every head's view of one scan is, its store and its key."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.specs import digest
from mri_transfer.core.store import TensorStore
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.scans.slices import SliceSpec
from mri_transfer.training.fitted_model import FittedModel

__all__ = ["MapStore", "ScanMaps", "fold_digest", "maps_key"]

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]

#: Raise when the same scan and heads would give other maps.
_VERSION = "mri-transfer/maps/2"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ScanMaps:
    """What every head's view of one scan is; heads in the order of the run's folds.

    Attributes
    ----------
    exact : ndarray of float32, shape (n_heads, n_slices, rows, columns)
        Gradient times activation, element by element, times the weight the head gives the slice.
    gradcam, randomised : ndarray of float32, shape (n_first, n_slices, rows, columns)
        The same by Grad-CAM, and with the head's weights permuted among channels, for the heads
        of the first repeat. Grad-CAM has the length 0 where it was not asked for.
    logits, weights : ndarray of float32, shape (n_heads, n_slices)
        What each head says of each slice, and how much the slice counts.
    inside : ndarray of float32, shape (n_slices, rows, columns)
        Share of each cell that lies in the head.
    shape, affine, z_mm : ndarray
        Of the volume that the slices were cut from, (3,) and (4, 4), and of the slices,
        (n_slices,).
    mismatch : float
        Largest difference between the features of these maps and those that the heads were
        scored on, as a share of the largest feature; 0 where each head has a tail.
    """

    exact: FloatArray
    gradcam: FloatArray
    randomised: FloatArray
    logits: FloatArray
    weights: FloatArray
    inside: FloatArray
    shape: npt.NDArray[np.int64]
    affine: DoubleArray
    z_mm: DoubleArray
    mismatch: float

    def geometry(self, spec: SliceSpec) -> SliceGeometry:
        """Return how the slices lie in the volume; `spec` is what they were cut by."""
        x, y, z = (int(extent) for extent in self.shape)
        return SliceGeometry.of((x, y, z), self.affine, self.z_mm, spec)

    def same(self, other: ScanMaps) -> bool:
        """Tell whether other maps are the same numbers."""
        return all(
            np.array_equal(getattr(self, field.name), getattr(other, field.name))
            for field in dataclasses.fields(self)
        )


class MapStore(TensorStore):
    """Maps of scans, addressed by `maps_key`."""

    kind = "maps"
    schema = _VERSION

    def put(self, key: str, maps: ScanMaps) -> None:
        """Store a scan's maps."""
        tensors = {
            field.name: np.asarray(getattr(maps, field.name))
            for field in dataclasses.fields(ScanMaps)
        }
        self._write(key, tensors)

    def get(self, key: str) -> ScanMaps:
        """Read a scan's maps; raises StoreError if they cannot be trusted."""
        tensors: dict[str, Any] = self._read(key)
        tensors["mismatch"] = float(tensors["mismatch"].item())
        return ScanMaps(**tensors)


def fold_digest(one: FittedModel) -> str:
    """Return the SHA-256 of what a fold computes with: tail, head, harmonisation, pooling."""
    parts = [one.head.kind, one.pooling, str(one.repeat), str(one.fold)]
    if one.tail is not None:
        parts.append(one.tail.digest)
    sha = hashlib.sha256("\n".join(parts).encode())
    tensors: dict[str, npt.NDArray[Any]] = dict(one.head.tensors)
    if one.harmoniser is not None:
        tensors |= {f"combat {name}": v for name, v in one.harmoniser.combat.tensors.items()}
    for name in sorted(tensors):
        sha.update(f"{name} {tensors[name].shape}".encode())
        sha.update(np.ascontiguousarray(tensors[name]).tobytes())
    return sha.hexdigest()


def maps_key(
    *, features_key: str, patient_id: str, trained: Sequence[FittedModel], grad_cam: bool
) -> str:
    """Return the key of a scan's maps.

    Parameters
    ----------
    features_key : str
        Of the scan's features: it holds slices, trunk and precision.
    patient_id : str
        Harmonisation depends on the patient's site and covariates.
    trained : sequence of FittedModel
    grad_cam : bool
        As in `attribution.explain_scan`.
    """
    return digest(
        {
            "kind": _VERSION,
            "features": features_key,
            "heads": [fold_digest(model) for model in trained],
            "covariates": [_covariates(model, patient_id) for model in trained],
            "grad_cam": grad_cam,
        }
    )


def _covariates(model: FittedModel, patient_id: str) -> list[str]:
    if model.harmoniser is None:
        return []
    known = model.harmoniser.covariates.loc[[patient_id]]
    return [str(value) for value in known.to_numpy(dtype=object).ravel()]
