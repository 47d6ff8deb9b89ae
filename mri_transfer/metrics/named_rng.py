"""Random numbers by name, so that a figure more does not move the draws of the others."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["named_rng"]


def named_rng(seed: int, name: str) -> np.random.Generator:
    """Return the generator of a figure, which depends on the seed and its name alone."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
