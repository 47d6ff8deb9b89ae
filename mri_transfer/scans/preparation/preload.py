"""Import all libraries that preparation needs.

A server process imports this module and forks the workers, which would otherwise spend seconds on
the same imports.
"""

from __future__ import annotations

import importlib

__all__ = ["MODULES"]

#: Libraries that preparation, quality control and figures import lazily.
MODULES = (
    "SimpleITK",
    "monai.data.meta_tensor",
    "monai.transforms",
    "nilearn.datasets",
    "scipy.fft",
    "scipy.linalg",
    "scipy.ndimage",
    "scipy.spatial.transform",
    "skimage.filters",
    "skimage.segmentation",
)

for _name in MODULES:
    importlib.import_module(_name)
