"""Transfer learning for Alzheimer's MRI, evaluated by patient and audited for leakage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mri_transfer.version import __version__

if TYPE_CHECKING:
    from mri_transfer.bundle import load_bundle

__all__ = ["__version__", "load_bundle"]


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first asked for."""
    if name == "load_bundle":
        from mri_transfer.bundle import load_bundle

        return load_bundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
