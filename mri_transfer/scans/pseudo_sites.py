"""Pseudo-sites: the scans of one cohort as several scanners might have made them.

A pseudo-site is a contrast curve, a bias field and a resolution that all of its scans share, and
noise that each scan has to itself. Unlike the perturbations that grade a model's robustness, what
belongs to the scanner is drawn once a site. The images of two sites therefore differ
systematically, while the brains in them are exchangeable if patients are assigned at random: what
a model loses between them is owed to the images alone.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT, digest, spec_dict
from mri_transfer.scans.perturbations import Perturbation, intensity_range, perturb
from mri_transfer.scans.volumes import Volume

__all__ = ["PseudoSite", "pseudo_sites", "render"]

#: Increment when the same volume, site and scan would give other voxels.
_VERSION = "pseudo-site/1"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PseudoSite:
    """How a made-up scanner shows a head."""

    name: str
    contrast: float = Field(default=1.0, gt=0)
    """Exponent of the contrast curve: above 1 dark tissue gets darker, below 1 brighter."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of Rician noise, in percent of the brightest tissue."""
    bias: float = Field(default=0.0, ge=0, lt=200)
    """Range of the bias field from the darkest to the brightest position, in percent."""
    resolution_mm: float = Field(default=0.0, ge=0)
    """Edge of the voxels that the head was imaged with; smaller than the scan's own: no loss."""
    field_seed: int = 0
    """Determines the shape of the bias field, which all scans of the site share."""


def pseudo_sites(severity: Literal["none", "mild", "severe"]) -> tuple[PseudoSite, ...]:
    """Return five sites.

    Parameters
    ----------
    severity : {"none", "mild", "severe"}
        `none`: five times the same one, which changes nothing: a control. `mild`: as scanners of
        one protocol differ. `severe`: as other protocols, fields and coils do, up to the severest
        level at which `mri_transfer.scans.perturbations` grades robustness.
    """
    looks: dict[str, tuple[tuple[float, float, float, float], ...]] = {
        "none": ((1.0, 0.0, 0.0, 0.0),) * 5,
        "mild": (
            (1.0, 1.0, 10.0, 1.0),
            (1.1, 2.0, 20.0, 1.0),
            (0.9, 3.0, 10.0, 1.25),
            (1.15, 1.5, 20.0, 1.5),
            (0.87, 2.5, 15.0, 1.25),
        ),
        "severe": (
            (1.0, 2.0, 20.0, 1.0),
            (1.6, 5.0, 60.0, 1.5),
            (0.625, 9.0, 40.0, 2.0),
            (1.3, 3.0, 80.0, 3.0),
            (0.77, 7.0, 50.0, 2.5),
        ),
    }
    return tuple(
        PseudoSite(
            name=f"site{number + 1}",
            contrast=contrast,
            noise=noise,
            bias=bias,
            resolution_mm=resolution_mm,
            field_seed=number,
        )
        for number, (contrast, noise, bias, resolution_mm) in enumerate(looks[severity])
    )


def render(volume: Volume, site: PseudoSite, *, scan_key: str) -> Volume:
    """Show a prepared scan as a site would have imaged it, on the same grid.

    Contrast and field come first, then the resolution, and noise last, as in a scanner.

    Parameters
    ----------
    volume : Volume
        A prepared scan, axes in RAS+.
    site : PseudoSite
    scan_key : str
        What the scan is known by, such as its SHA-256: its noise is drawn from it.

    Returns
    -------
    Volume
        The background (the lowest value) does not change.
    """
    noise_seed = int(digest([_VERSION, spec_dict(site), scan_key])[:12], 16)
    shown = _curved(volume, site.contrast)
    if site.bias:
        shown = perturb(shown, Perturbation(kind="bias", level=site.bias), seed=site.field_seed)
    if site.resolution_mm:
        shown = perturb(shown, Perturbation(kind="resolution", level=site.resolution_mm), seed=0)
    if site.noise:
        shown = perturb(shown, Perturbation(kind="noise", level=site.noise), seed=noise_seed)
    return shown


def _curved(volume: Volume, exponent: float) -> Volume:
    if exponent == 1.0:
        return volume
    lowest, bright = intensity_range(volume.voxels)
    scaled = (volume.voxels - lowest) / (bright - lowest)
    voxels = (scaled**exponent * (bright - lowest) + lowest).astype(np.float32)
    return dataclasses.replace(volume, voxels=voxels)
