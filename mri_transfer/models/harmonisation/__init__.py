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

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
