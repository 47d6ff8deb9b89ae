"""Harmonisation: ComBat takes the site out of features, fitted on training patients only.

ComBat (Johnson, Li and Rabinovic 2007, Biostatistics 8:118-127; for imaging, Fortin et al. 2018,
NeuroImage 167:104-120) gives each site an offset and a scale per feature, shrunk towards what the
site's features have in common, and keeps what named covariates explain. The estimates are those
of neuroHarmonize (Pomponio et al. 2020, NeuroImage 208:116450).

A site's offset belongs to the scan, not to the slice: ComBat is fitted on each scan's mean over
slices, and every slice of a scan is moved and scaled by the same numbers. The mean of a scan's
harmonised slices is then its harmonised mean, and its slices keep their pattern.

The label is never among what is kept: it would have to be known of every patient to be scored.
Where labels and sites go together, ComBat therefore removes a part of the disease with the site.
"""

from __future__ import annotations

from mri_transfer.models.harmonisation.columns import demand_one_site
from mri_transfer.models.harmonisation.combat import Combat
from mri_transfer.models.harmonisation.fitting import HarmonisationSpec, check_combat, fit_combat

__all__ = ["Combat", "HarmonisationSpec", "check_combat", "demand_one_site", "fit_combat"]
