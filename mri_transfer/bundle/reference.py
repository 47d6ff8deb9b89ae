"""ReferenceInputs: synthetic pictures with their expected scores, for a bundle's self-test.

The pictures are drawn by a formula: ovals with two dark ventricles, no patient's anatomy. At load
time the heads score the stored features, and further ones that were made up around the middle of
the training data; when the trunk is first needed it is given two of the pictures and must find
their features again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mri_transfer.bundle.density import FeatureDensity
from mri_transfer.core.tensorfile import read_tensors, write_tensors
from mri_transfer.errors import StoreError
from mri_transfer.models.features import SliceEncoder, encode_poolings
from mri_transfer.scans.slices import SliceStack

__all__ = ["ReferenceInputs", "draw_phantom", "make_reference"]

FloatArray = npt.NDArray[np.float32]
ScoreArray = npt.NDArray[np.float64]
#: From features (n, n_slices, n_features) to scores (n_heads, n).
Scorer = Callable[[FloatArray], ScoreArray]

_SCHEMA = "mri-transfer/reference/1"
_FILE = "reference.safetensors"
_PHANTOMS = 3
_MADE_UP = 4
#: Pictures that the trunk is tested on when a bundle is first used.
_PICTURES = 2
#: Largest difference by rounding between processors.
_SCORE_TOLERANCE = 1e-4
#: Of features, over their root mean square: fp32 and bf16 keep 24 and 8 bits.
_FEATURE_TOLERANCE = {"fp32": 1e-3, "bf16": 5e-2}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceInputs:
    """Phantoms with their expected features and scores.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (2, size_px, size_px)
        The first pictures of the first phantom.
    features : ndarray of float32, shape (n_sets, n_slices, n_features)
        Of all pictures of three phantoms, then made-up ones.
    scores : ndarray of float64, shape (n_heads, n_sets)
        By the final head first, then by each bootstrap head.
    """

    pixels: npt.NDArray[np.uint8]
    features: FloatArray
    scores: ScoreArray

    def check_heads(self, score: Scorer) -> None:
        """Raise StoreError unless the heads give the stored scores."""
        found = score(self.features)
        fault = "another shape"
        if found.shape == self.scores.shape:
            furthest = float(np.abs(found - self.scores).max())
            if furthest <= _SCORE_TOLERANCE:
                return
            fault = f"a score off by {furthest:.2g}"
        raise StoreError(
            "the bundle's self-test fails: its heads score the reference inputs otherwise",
            found=fault,
            expected=f"at most {_SCORE_TOLERANCE:g}",
            remedy="Install the versions that the bundle's sbom.json lists",
        )

    def check_trunk(self, trunk: SliceEncoder, pooling: str) -> None:
        """Raise StoreError unless the trunk gives the stored features."""
        stack = SliceStack(scan_id="reference", pixels=self.pixels, z_mm=_heights(_PICTURES))
        found = encode_poolings(stack, trunk, [pooling])[pooling].features
        stored = self.features[0, : len(found)]
        size = float(np.sqrt(np.square(stored).mean()))
        error = float(np.sqrt(np.square(found - stored).mean())) / max(size, 1e-12)
        if error > _FEATURE_TOLERANCE[trunk.precision]:
            raise StoreError(
                "the bundle's self-test fails: the trunk sees other features",
                found=f"root mean square difference {error:.2g} of their size",
                expected=f"at most {_FEATURE_TOLERANCE[trunk.precision]:g}",
                remedy="Use the weights and the precision that the bundle names",
            )

    def write(self, folder: Path) -> None:
        """Write reference.safetensors."""
        write_tensors(folder / _FILE, dataclasses.asdict(self), schema=_SCHEMA)

    @classmethod
    def read(cls, folder: Path) -> ReferenceInputs:
        """Read what `write` wrote; raises StoreError if it is damaged."""
        tensors = read_tensors(folder / _FILE, schema=_SCHEMA)
        return cls(**tensors)


def draw_phantom(n_slices: int, size_px: int, *, number: int) -> npt.NDArray[np.uint8]:
    """Draw the pictures of one phantom.

    Parameters
    ----------
    n_slices, size_px : int
    number : int
        0, 1, ...: the higher, the wider its ventricles.

    Returns
    -------
    ndarray of uint8, shape (n_slices, size_px, size_px)
    """
    v, u = np.meshgrid(*[np.linspace(-1, 1, size_px)] * 2, indexing="ij")
    pictures = np.zeros((n_slices, size_px, size_px))
    for k, height in enumerate(np.linspace(-0.8, 0.8, n_slices)):
        radius = 0.9 * np.sqrt(1 - 0.6 * height**2)
        inside = (u / (0.8 * radius)) ** 2 + (v / radius) ** 2
        folds = 0.12 * np.cos(9 * np.arctan2(v, u) + 3 * height) * np.clip(inside, 0, 1)
        wide = (0.10 + 0.04 * number) * np.exp(-4 * height**2)
        dark = np.exp(-(((np.abs(u) - 0.16) / wide) ** 2 + (v / (2.4 * wide)) ** 2))
        pictures[k] = np.where(inside < 1, 0.75 - 0.25 * inside + folds - 0.6 * dark, 0.0)
    return np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)


def make_reference(
    trunk: SliceEncoder,
    score: Scorer,
    density: FeatureDensity,
    *,
    pooling: str,
    n_slices: int,
    size_px: int,
) -> ReferenceInputs:
    """Draw phantoms, and record the features and scores that trunk and heads give them.

    Parameters
    ----------
    trunk : SliceEncoder
    score : callable
        From features (n, n_slices, n_features) to scores (n_heads, n).
    density : FeatureDensity
        Of the training data: phantoms lie far from it, where scores end near 0 or 1 and would
        hide a difference.
    pooling : str
    n_slices, size_px : int
    """
    stacks = [draw_phantom(n_slices, size_px, number=number) for number in range(_PHANTOMS)]
    features = np.stack(
        [
            encode_poolings(
                SliceStack(scan_id="reference", pixels=pixels, z_mm=_heights(n_slices)),
                trunk,
                [pooling],
            )[pooling].features
            for pixels in stacks
        ]
    )
    features = np.concatenate([features, _around_the_middle(density, n_slices)])
    return ReferenceInputs(
        pixels=stacks[0][:_PICTURES].copy(), features=features, scores=score(features)
    )


def _around_the_middle(density: FeatureDensity, n_slices: int) -> FloatArray:
    """Make features up: the training data's mean, moved along its principal axes by a formula."""
    known = density.tensors
    axes = known["components"] * known["deviation"][:, None]
    number, order = np.arange(_MADE_UP)[:, None], np.arange(len(axes))
    moved = known["mean"] + np.sin(1.0 + 2.0 * number + 3.0 * order) @ axes
    tilt = np.linspace(-0.5, 0.5, n_slices)[:, None] * axes[0]
    made_up: FloatArray = (moved[:, None] + tilt).astype(np.float32)
    return made_up


def _heights(n: int) -> FloatArray:
    return np.arange(n, dtype=np.float32)
