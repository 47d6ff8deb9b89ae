"""Variants of a slice through windows, against each of them passing whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mri_transfer.explain.variants import maps_of_variants
from mri_transfer.models.trunks import Trunk, TrunkSpec, load_trunk


def _trunk(precision: str, layer: str) -> Trunk:
    return load_trunk(TrunkSpec(weights="random", layer=layer), precision=precision, device="cpu")


def _variants(height: int, width: int, rectangles) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (height, width), dtype=np.uint8)
    variants = np.repeat(pixels[None], len(rectangles), axis=0)
    for variant, (rows, columns) in zip(variants, rectangles, strict=True):
        variant[slice(*rows), slice(*columns)] = 7
    return pixels, variants


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("layer", ["block2_pool", "block3_pool", "block4_pool"])
def test_a_window_gives_what_the_whole_variant_gives(precision: str, layer: str) -> None:
    # In corners, at edges, inside, of odd sizes; and a picture that strides do not divide.
    height, width = 150, 131
    rectangles = [
        ((0, 16), (0, 16)), ((134, 150), (115, 131)), ((61, 70), (0, 9)), ((47, 64), (50, 51)),
        ((0, 1), (130, 131)),
    ]  # fmt: skip
    trunk = _trunk(precision, layer)
    pixels, variants = _variants(height, width, rectangles)
    maps = maps_of_variants(trunk, pixels, variants, rectangles)
    whole = np.concatenate([pixels[None], variants])
    wanted = torch.cat([trunk._forward(torch.from_numpy(one[None])) for one in whole])
    assert maps.shape == wanted.shape
    assert not torch.equal(maps[0], maps[3])
    assert torch.allclose(maps, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_windows_are_smaller_than_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = _trunk("fp32", "block4_pool")
    seen: list[int] = []
    true = trunk.network.to_input

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels.numel())
        return true(pixels)

    monkeypatch.setattr(trunk.network, "to_input", counted)
    rectangles = [((96, 128), (96, 128))] * 3
    pixels, variants = _variants(224, 224, rectangles)
    maps_of_variants(trunk, pixels, variants, rectangles)
    # Of block 3 that a patch of 32 pixels changes, 18 pixels to each side, seen 18 further.
    assert seen == [224**2, *[128**2] * 3]
