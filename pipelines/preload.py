"""What processes that work on scans import, all at once, in the server that forks them.

Each of them would otherwise spend seconds on importing the same libraries. What cannot be imported
here, for want of memory, is left to the processes themselves: a server that dies tells nobody why.
"""

from __future__ import annotations

import contextlib
import importlib

__all__ = ["MODULES"]

MODULES = (
    "mri_transfer.scans.preparation.preload",
    "pipelines.stages.prepare_worker",
    "pipelines.jobs.predict",
)

for _name in MODULES:
    with contextlib.suppress(Exception):
        importlib.import_module(_name)
