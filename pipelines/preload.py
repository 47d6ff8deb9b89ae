"""Import all libraries that worker processes need, in the server that forks them.

Each worker would otherwise spend seconds on the same imports. Failed imports, for lack of memory,
are left to the workers, as a server that dies cannot report why.
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
