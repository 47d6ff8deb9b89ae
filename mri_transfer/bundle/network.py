"""A bundle's model as one torch module, for export."""

from __future__ import annotations

import copy

from mri_transfer.bundle.parts import BundleParts
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.model import PatientModel

__all__ = ["scan_network"]


def scan_network(bundle: BundleParts) -> PatientModel:
    """Return a bundle's model in evaluation mode, in single precision on the processor.

    Parameters
    ----------
    bundle : BundleParts
        Without harmonisation.

    Raises
    ------
    ConfigurationError
        If its heads harmonise sites, which a network of pixels alone cannot.
    """
    if bundle.trained.harmoniser is not None:
        raise ConfigurationError(
            "heads that harmonise sites cannot be exported",
            remedy="Use the bundle itself: the scan's site has to be known",
        )
    trunk = copy.deepcopy(bundle.trunk.network)
    model = PatientModel.of_head(bundle.trained.head, trunk=trunk)
    return model.float().cpu().eval().requires_grad_(False)
