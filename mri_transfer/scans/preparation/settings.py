"""Settings of preparation, and the key of what is made with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, digest, spec_dict

__all__ = ["PreparationSpec", "prepared_key"]


#: Increment when the same scan and Spec would give other voxels.
_VERSION = "prepared/2"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PreparationSpec:
    """Preprocessing of scans; each step can be switched off."""

    scans: Literal["auto", "all", "none"] = "auto"
    """`auto`: scans that are already prepared (skull-stripped, in template space) pass through
    unchanged; `all`: every scan is prepared; `none`: all scans are already prepared."""
    registration: bool = True
    """Affine registration to the template; without it the header's position is used."""
    bias_field: bool = True
    """N4 bias field correction."""
    brain_extraction: Literal["own", "hd-bet", "synthstrip", "none"] = "own"
    """`own`: watershed from the template's outline; `hd-bet`, `synthstrip`: that program, which
    must be installed; `none`: keep the skull."""
    crop: bool = True
    """Crop to the brain with a margin of some millimetres; otherwise use the template's whole
    grid."""
    interpolation: Literal["linear", "bspline"] = "linear"
    """Interpolation of the scan on the 1 mm grid."""
    timeout_s: int = Field(default=900, ge=1)
    """Time limit per scan, in seconds; scans that take longer are excluded."""


def prepared_key(*, scan_sha256: str, spec: PreparationSpec) -> str:
    """Return the key of a prepared scan, from its bytes and the settings that affect it."""
    shaping = {name: value for name, value in spec_dict(spec).items() if name != "timeout_s"}
    return digest({"kind": _VERSION, "scan": scan_sha256, "preparation": shaping})
