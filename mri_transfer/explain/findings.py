"""What was computed of a cohort's scans, before it is put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.explain.choice import ChosenPatient
from mri_transfer.explain.cohort_maps import CohortMaps
from mri_transfer.explain.contrast import ContrastMaps
from mri_transfer.explain.faithfulness import Curves
from mri_transfer.explain.geometry import SliceGeometry
from mri_transfer.explain.pixel_attribution import PixelAttribution

__all__ = ["Findings", "Space"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Space:
    """In which space millimetres are.

    Attributes
    ----------
    mni : bool
        Whether all scans lie in MNI space: prepared by us, or grown there.
    turned : mapping of str to int
        How content lies against the header, in words, and in how many scans.
    """

    mni: bool
    turned: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": "MNI152" if self.mni else "the scans' own headers",
            "mni": self.mni,
            "turned": dict(sorted(self.turned.items())),
        }


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What was computed of scans, to be put together.

    Attributes
    ----------
    cohort : CohortMaps
    geometries : sequence of SliceGeometry, one a scan
    pictures : callable
        Returns the slices of a scan by its position, (n_slices, size_px, size_px).
    pixels : sequence of (ChosenPatient, str, PixelAttribution)
        With the scan's id.
    curves : sequence of Curves, one for each of `pixels`
    contrast : ContrastMaps or None
        Of some scans; None where nobody gets them.
    is_complete : bool
        Whether heads are linear and nothing was harmonised, so that maps must add up.
    same_again : bool or None
        As in `checks.sanity_rows`.
    tuned : bool
        Whether each head has a tail.
    """

    cohort: CohortMaps
    geometries: Sequence[SliceGeometry]
    pictures: Callable[[int], npt.NDArray[np.uint8]]
    pixels: Sequence[tuple[ChosenPatient, str, PixelAttribution]]
    curves: Sequence[Curves]
    contrast: ContrastMaps | None
    is_complete: bool
    same_again: bool | None
    tuned: bool = False
