"""BrainVolumes: shares of fluid, grey and white matter in a scan's intracranial volume.

What a radiologist looks at: ventricles and sulci that widen, grey matter that is lost. Every figure
is a function of one scan and a share of the intracranial volume between the lowest and the highest
slice, so that neither the size of the head nor the field of view counts.

Places are told relative to the outline of the head, since a scan that was prepared elsewhere may
lie in any space. *Central* fluid is that of the lateral and third ventricles and the cisterns
between them: within 45 % of half the head's width from its middle, and between 25 and 80 % of its
length from back to front. Above the base of the ventricles, where slabs usually lie, little else is
dark there; the insulae and the longitudinal fissure in front and behind lie outside.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mri_transfer.core.specs import digest, spec_dict
from mri_transfer.core.store import TensorStore
from mri_transfer.scans.slices import SliceSpec, plan_slices
from mri_transfer.scans.tissue import TissueMaps, TissueSpec, segment_tissues
from mri_transfer.scans.volumes import Volume

__all__ = ["VOLUME_NAMES", "BrainVolumes", "VolumesStore", "measure_volumes", "volumes_key"]

_SCHEMA = "mri-transfer/volumes/1"

_HEIGHTS, _DEPTHS = ("lower", "upper"), ("back", "middle", "front")
#: Of half the head's width; of its length from back to front.
_CENTRAL_WIDTH, _CENTRAL_LENGTH = 0.45, (0.25, 0.8)

#: What each share is of, in the order of `BrainVolumes.shares`.
VOLUME_NAMES = (
    *(f"ventricles, {height}" for height in _HEIGHTS),
    *(
        f"{tissue}, {height} {depth}"
        for tissue in ("outer fluid", "grey matter")
        for height in _HEIGHTS
        for depth in _DEPTHS
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BrainVolumes:
    """Volumes of one scan.

    Attributes
    ----------
    shares : ndarray of float64, shape (n_volumes,)
        Shares of the intracranial volume, in the order of `VOLUME_NAMES`: central fluid, then the
        fluid that is not central and grey matter, for two halves of the height and three thirds
        of the length of the head. What is missing to 1 is white matter.
    intracranial_ml : float
        Volume inside the outline, between the lowest and the highest slice.
    """

    shares: npt.NDArray[np.float64]
    intracranial_ml: float

    @property
    def ventricles(self) -> float:
        """Share of central fluid."""
        return self._sum("ventricles")

    @property
    def fluid(self) -> float:
        """Share of all fluid."""
        return self._sum("ventricles") + self._sum("outer fluid")

    @property
    def grey(self) -> float:
        """Share of grey matter."""
        return self._sum("grey matter")

    @property
    def white(self) -> float:
        """Share of white matter."""
        return 1.0 - self.fluid - self.grey

    def _sum(self, tissue: str) -> float:
        parts = [name.startswith(tissue) for name in VOLUME_NAMES]
        return float(self.shares[parts].sum())


def volumes_key(*, volume_key: str, slices: SliceSpec, tissues: TissueSpec) -> str:
    """Return the key of a scan's volumes."""
    return digest(
        {
            "kind": _SCHEMA,
            "volume": volume_key,
            "slices": spec_dict(slices),
            "tissues": spec_dict(tissues),
        }
    )


def measure_volumes(volume: Volume, slices: SliceSpec, tissues: TissueSpec) -> BrainVolumes:
    """Measure the volumes of one prepared scan.

    Parameters
    ----------
    volume : Volume
        T1, skull-stripped, in RAS+.
    slices : SliceSpec
        Whose lowest and highest slice bound what is measured.
    tissues : TissueSpec

    Raises
    ------
    SliceError
        If the scan has too few usable slices.
    IntensityError
        If the head has fewer than three grey values.
    """
    heights = plan_slices(volume, slices).z_index
    low, high = int(np.floor(heights.min())), int(np.ceil(heights.max())) + 1
    slab = dataclasses.replace(volume, voxels=volume.voxels[:, :, low:high])
    maps = segment_tissues(slab, tissues)
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    n_voxels = int(maps.head.sum())
    return BrainVolumes(shares=_totals(maps) / n_voxels, intracranial_ml=n_voxels * voxel_ml)


def _totals(maps: TissueMaps) -> npt.NDArray[np.float64]:
    """Return the fractions summed over each region's voxels, in the order of `VOLUME_NAMES`."""
    x, y, z = (_along(maps.head, axis) for axis in range(3))
    central = (np.abs(2 * x - 1) < _CENTRAL_WIDTH)[:, None] & _between(y, *_CENTRAL_LENGTH)[None]
    upper = [z < 0.5, z >= 0.5]
    thirds = [_between(y, -np.inf, 1 / 3), _between(y, 1 / 3, 2 / 3), _between(y, 2 / 3, np.inf)]
    inner = [_sum(maps.fluid, central[:, :, None] & height) for height in upper]
    outer = [
        _sum(maps.fluid, (~central & third)[:, :, None] & height)
        for height in upper
        for third in thirds
    ]
    grey = [_sum(maps.grey, third[None, :, None] & height) for height in upper for third in thirds]
    return np.array([*inner, *outer, *grey])


def _along(head: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.float64]:
    """Return the voxels' positions along an axis, from 0 to 1 over the extent of the head."""
    others = tuple(other for other in range(3) if other != axis)
    inside = np.flatnonzero(head.any(axis=others))
    extent = inside[-1] + 1 - inside[0]
    centres = np.arange(head.shape[axis]) + 0.5 - inside[0]
    return np.asarray(centres / extent, dtype=np.float64)


def _between(positions: npt.NDArray[np.float64], low: float, high: float) -> npt.NDArray[np.bool_]:
    return (positions >= low) & (positions < high)


def _sum(fractions: npt.NDArray[np.float32], region: npt.NDArray[np.bool_]) -> float:
    return float(fractions.sum(where=region, dtype=np.float64))


class VolumesStore(TensorStore):
    """Volumes of scans, addressed by `volumes_key`."""

    kind = "volumes"
    schema = _SCHEMA

    def put(self, key: str, volumes: BrainVolumes) -> None:
        """Store a scan's volumes."""
        self._write(
            key,
            {"shares": volumes.shares, "intracranial_ml": np.array([volumes.intracranial_ml])},
        )

    def get(self, key: str) -> BrainVolumes:
        """Read a scan's volumes; raises StoreError if the entry is invalid."""
        tensors = self._read(key)
        return BrainVolumes(
            shares=tensors["shares"], intracranial_ml=float(tensors["intracranial_ml"][0])
        )
