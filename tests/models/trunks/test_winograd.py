"""Winograd's convolution is the convolution, and what a pass leaves out as black is not lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_transfer.core.specs import digest, spec_dict
from mri_transfer.models.features import FeatureSpec, feature_key
from mri_transfer.models.trunks import Trunk, TrunkSpec, load_trunk, trunk_arithmetic, trunk_digest
from mri_transfer.models.trunks.spans import Spans
from mri_transfer.models.trunks.winograd import Block, Scratch, WinogradConv

SPEC = TrunkSpec(weights="random", layer="block4_pool")


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return load_trunk(SPEC, precision="fp32", device="cpu")


def _convolution(incoming: int, out: int) -> torch.nn.Conv2d:
    torch.manual_seed(incoming + 100 * out)
    return torch.nn.Conv2d(incoming, out, 3, padding=1).requires_grad_(False)


def _direct(convolution: torch.nn.Conv2d, x: torch.Tensor, *, pooled: bool) -> torch.Tensor:
    """The layer's definition, in double precision."""
    assert convolution.bias is not None
    found = torch.nn.functional.conv2d(
        x.double(), convolution.weight.double(), convolution.bias.double(), padding=1
    ).relu()
    return torch.nn.functional.max_pool2d(found, 2) if pooled else found


def _assert_close(found: torch.Tensor, expected: torch.Tensor, *, relative: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert _difference(found, expected) < relative


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(
    ("n", "incoming", "out", "height", "width"),
    [
        (1, 16, 16, 4, 4),
        (2, 5, 7, 9, 14),
        (3, 1, 2, 2, 31),
        (1, 64, 24, 13, 3),
        (2, 24, 64, 18, 17),
    ],
)
def test_a_layer_is_the_convolution_whatever_its_shape(
    n: int, incoming: int, out: int, height: int, width: int, *, pooled: bool
) -> None:
    convolution = _convolution(incoming, out)
    x = torch.randn(n, incoming, height, width)
    found = WinogradConv(convolution, pooled=pooled)(x)
    _assert_close(found, _direct(convolution, x, pooled=pooled))


def test_a_kernel_that_shifts_moves_the_picture() -> None:
    convolution = _convolution(1, 1)
    convolution.weight.zero_()[0, 0, 0, 2] = 1
    torch.nn.init.zeros_(convolution.bias)
    x = torch.rand(1, 1, 8, 8)
    found = WinogradConv(convolution, pooled=False)(x)
    torch.testing.assert_close(found[0, 0, 1:, :-1], x[0, 0, :-1, 1:])
    torch.testing.assert_close(found[0, 0, 0], torch.zeros(8))


def test_a_block_is_its_part_of_the_whole_and_writes_nothing_else() -> None:
    layer = WinogradConv(_convolution(16, 16), pooled=True)
    x = torch.randn(1, 16, 16, 24)
    source = torch.nn.functional.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()
    target = torch.full((1, 10, 14, 16), -1.0)
    layer.write(source, target, Block(top=4, left=8, rows=8, columns=12), Scratch())
    inside = target[:, 3:7, 5:11].permute(0, 3, 1, 2).clone()
    _assert_close(inside, layer(x)[:, :, 2:6, 4:10])
    target[:, 3:7, 5:11] = -1
    assert bool((target == -1).all())


def _direct_pass(trunk: Trunk, pixels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return trunk.network(pixels)


def _on_black(height: int, width: int) -> torch.Tensor:
    """Slices that differ from black in a few places: in the middle, at edges, nowhere, anywhere."""
    rng = np.random.default_rng(3)
    pixels = np.zeros((7, height, width), dtype=np.uint8)
    pixels[0, height // 3 : height // 2, width // 3 : width // 2] = 200
    pixels[1, 0, 0] = pixels[1, -1, width // 2] = 255
    pixels[2, height // 2 + 1, width // 2 + 1] = 255
    pixels[4] = rng.integers(0, 256, (height, width))
    pixels[5, 5:9, -3:] = 255
    rows, columns = np.indices((height, width))
    inside = ((rows / height - 0.5) / 0.3) ** 2 + ((columns / width - 0.4) / 0.2) ** 2 < 1
    pixels[6][inside] = rng.integers(1, 256, int(inside.sum()))
    return torch.from_numpy(pixels)


@pytest.mark.parametrize("layer", ["block3_pool", "block4_pool", "block5_pool"])
@pytest.mark.parametrize("size", [(64, 64), (97, 120), (150, 83)])
def test_a_pass_over_partly_black_slices_is_the_whole_networks(
    layer: str, size: tuple[int, int]
) -> None:
    one = load_trunk(dataclasses.replace(SPEC, layer=layer), precision="fp32", device="cpu")
    pixels = _on_black(*size)
    _assert_close(one.forward_slices(pixels), _direct_pass(one, pixels))


def test_a_reach_one_pixel_too_small_would_be_seen(
    trunk: Trunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = torch.zeros((8, 64, 64), dtype=torch.uint8)
    for i in range(8):
        pixels[i, 24 + i, 31 - i] = 255
    expected = _direct_pass(trunk, pixels)
    _assert_close(trunk.forward_slices(pixels), expected)
    of, grown, begun = Spans.of, Spans.grown, []

    def begin(mask: np.ndarray) -> Spans:
        begun.append(True)
        return of(mask)

    def forgotten_once(spans: Spans) -> Spans:
        # The first layer of every slice forgets its reach of one pixel; the others grow as ever.
        if begun:
            begun.clear()
            return spans
        return grown(spans)

    monkeypatch.setattr(Spans, "of", begin)
    monkeypatch.setattr(Spans, "grown", forgotten_once)
    assert _difference(trunk.forward_slices(pixels), expected) > 1e-4


def test_bytes_depend_neither_on_company_nor_on_threads(trunk: Trunk) -> None:
    pixels = _on_black(64, 64).repeat(3, 1, 1)
    together = trunk.forward_slices(pixels)
    for i in (0, 6, 11, 20):
        assert torch.equal(trunk.forward_slices(pixels[i : i + 1])[0], together[i])
    assert torch.equal(trunk.forward_slices(pixels.flip(0)).flip(0), together)
    before = torch.get_num_threads()
    try:
        for n_threads in (1, 3):
            torch.set_num_threads(n_threads)
            assert torch.equal(trunk.forward_slices(pixels), together)
    finally:
        torch.set_num_threads(before)


def test_slices_of_another_size_between_change_nothing(trunk: Trunk) -> None:
    pixels = _on_black(64, 64)
    before = trunk.forward_slices(pixels)
    trunk.forward_slices(_on_black(97, 120))
    assert torch.equal(trunk.forward_slices(pixels), before)


def test_slices_that_leave_no_map_are_refused(trunk: Trunk) -> None:
    with pytest.raises(ValueError, match="8 x 40 px are too small"):
        trunk.forward_slices(torch.zeros((1, 8, 40), dtype=torch.uint8))


@pytest.mark.data
def test_features_of_a_real_scan_are_direct_convolutions(shared_data: Path) -> None:
    from mri_transfer.scans.slices import SliceSpec, cut_slices
    from mri_transfer.scans.volumes import load_volume

    scan = sorted(shared_data.glob("oasis1-repeat-5/**/*.nii.gz"))[0]
    pixels = cut_slices(load_volume(scan, scan_id="s"), SliceSpec(n_slices=4)).pixels
    real = load_trunk(TrunkSpec(), precision="fp32", device="cpu")
    expected = _direct_pass(real, torch.from_numpy(pixels)).amax((2, 3))
    found = real.forward_slices(torch.from_numpy(pixels)).amax((2, 3))
    _assert_close(found, expected, relative=2e-5)


def _mask(rng: np.random.Generator) -> np.ndarray:
    rows, columns = rng.integers(1, 20, 2)
    return rng.random((rows, columns)) < rng.choice([0, 0.02, 0.1, 0.9])


def _inside(spans: Spans) -> np.ndarray:
    columns = np.arange(spans.width)
    return (columns >= spans.begin[:, None]) & (columns < spans.end[:, None])


def _pooled(mask: np.ndarray, size: int, stride: int, padding: int) -> np.ndarray:
    given = torch.from_numpy(mask)[None].float()
    return torch.nn.functional.max_pool2d(given, size, stride, padding)[0].numpy() > 0


@pytest.mark.parametrize("seed", range(40))
def test_spans_hold_whatever_a_kernel_or_a_pooling_sees(seed: int) -> None:
    mask = _mask(np.random.default_rng(seed))
    spans = Spans.of(mask)
    assert not (mask & ~_inside(spans)).any()
    assert not (_pooled(mask, 3, 1, 1) & ~_inside(spans.grown())).any()
    assert np.array_equal(
        _inside(spans.grown()), _inside(Spans.of(_pooled(_inside(spans), 3, 1, 1)))
    )
    if min(mask.shape) > 1:
        assert not (_pooled(mask, 2, 2, 0) & ~_inside(spans.halved())).any()


@pytest.mark.parametrize("seed", range(40))
def test_bands_cover_the_spans_and_missing_covers_the_rest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = _mask(rng)
    spans, done = Spans.of(mask), Spans.of(rng.permutation(mask, axis=0))
    covered = np.zeros((40, 40), dtype=int)
    for top, bottom, left, right in spans.bands(8, (4, 4)):
        assert not any(edge % 4 for edge in (top, bottom, left, right))
        covered[top:bottom, left:right] += 1
    assert covered.max() <= 1
    assert not (_inside(spans) & (covered[: mask.shape[0], : mask.shape[1]] == 0)).any()
    rest = np.zeros_like(mask)
    for top, bottom, left, right in spans.missing(done):
        rest[top:bottom, left:right] = True
    assert np.array_equal(rest, _inside(spans) & ~_inside(done))


def test_features_from_before_are_read_only_where_nothing_changed() -> None:
    def before(spec: FeatureSpec) -> str:
        trunk = spec_dict(TrunkSpec())
        del trunk["seed"], trunk["digest"]
        parts = {"kind": "features/1", "slices": "a", "trunk": trunk}
        parts |= {"weights": trunk_digest(TrunkSpec()), "features": spec_dict(spec)}
        return digest(parts)

    def now(spec: FeatureSpec) -> str:
        return feature_key(slices="a", trunk_spec=TrunkSpec(), feature_spec=spec)

    full = FeatureSpec(precision="fp32", device="cpu")
    assert trunk_arithmetic(SPEC, precision="fp32", device="cpu") != "direct"
    assert now(full) != before(full)
    for precision, device in (("bf16", "cpu"), ("fp32", "cuda"), ("bf16", "cuda")):
        assert trunk_arithmetic(SPEC, precision=precision, device=device) == "direct"
        spec = FeatureSpec(precision=precision, device=device)
        assert now(spec) == before(spec)
