"""doctor: what is installed, which weights are found, which precision, how fast."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from mri_transfer.errors import ConfigurationError, WeightsError
from mri_transfer.models.features import FeatureSpec, encode, resolve_features
from mri_transfer.models.trunks import TRUNKS, TrunkSpec, load_trunk
from mri_transfer.scans.slices import SliceSpec, SliceStack
from mri_transfer.version import __version__
from pipelines.record import git_commit, package_versions
from pipelines.workspace import default_cache

__all__ = ["examine"]


def examine(
    *, trunk: str | None = None, cache: Path | None = None, weights: Path | None = None
) -> Iterator[tuple[str, str]]:
    """Yield pairs of what was looked at and what was found.

    Parameters
    ----------
    trunk : str, optional
        Whose weights and speed are looked at; by default those of the default trunk.
    cache, weights : Path, optional
        As for a run.

    Raises
    ------
    ConfigurationError
        If there is no such trunk.
    """
    trunk = trunk or TrunkSpec().name
    if trunk not in TRUNKS:
        raise ConfigurationError("no such trunk", found=trunk, expected=", ".join(TRUNKS))
    cache = cache or default_cache()
    yield "mri-transfer", f"{__version__} ({git_commit() or 'installed package'})"
    yield "python", f"{platform.python_version()} on {platform.machine()}"
    yield "processors", str(os.cpu_count())
    yield from package_versions().items()
    writable = os.access(cache if cache.exists() else cache.parent, os.W_OK)
    yield "cache", f"{cache} ({'writable' if writable else 'not there yet or not writable'})"
    spec = resolve_features(FeatureSpec())
    yield "device", spec.device
    yield "precision", spec.precision
    entry = TRUNKS[trunk]
    yield "trunks", ", ".join(TRUNKS)
    size = f", trained on pictures of {entry.input_px} px" if entry.input_px else ""
    yield "trunk", f"{entry.title}{size}"
    try:
        loaded = load_trunk(
            TrunkSpec(name=trunk),
            precision=spec.precision,
            device=spec.device,
            weights_path=weights,
            cache=cache / "weights",
        )
    except WeightsError as error:
        yield "weights", f"MISSING: {error}"
        return
    yield "weights", f"{loaded.weights_digest} from {loaded.weights_source}"
    stack = SliceStack.blank(SliceSpec())
    encode(stack, loaded, spec)
    clock = time.perf_counter()
    encode(stack, loaded, spec)
    rate = len(stack.z_mm) / (time.perf_counter() - clock)
    yield (
        "speed",
        f"{rate:.1f} slices/s at {SliceSpec().size_px} px, {60 * rate / 32:.0f} scans/min",
    )
