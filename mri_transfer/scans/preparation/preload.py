"""What preparing a scan imports, all at once.

A server process imports this and forks the workers: each of them would otherwise spend seconds on
importing the same libraries.
"""

from __future__ import annotations

import importlib

__all__ = ["MODULES"]

#: Libraries that the functions of preparation, quality and figures import when they are called.
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
