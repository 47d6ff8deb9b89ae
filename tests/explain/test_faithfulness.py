"""Deletion and insertion: by a slow oracle, and where the best order is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mri_transfer.explain.faithfulness import (
    CURVE_POINTS,
    Curves,
    CurveStore,
    close_curves,
    close_maps,
    curves_key,
    curves_of,
    faithfulness_rows,
)
from mri_transfer.explain.mean_log_odds import MeanLogOdds, PixelTrunks
from mri_transfer.explain.patches import cell_sums
from mri_transfer.explain.pixel_attribution import attribute_pixels
from mri_transfer.explain.spec import ExplanationSpec
from tests.explain.phantom import SLICES, TinyTrunk, make_stack, make_trained

FEW = {"n_samples": 100, "seed": 0, "confidence": 0.95}
CELLS, GREY = (4, 4), 90.0
PIXELS = np.random.default_rng(0).integers(1, 255, (2, 16, 16)).astype(np.uint8)
MASKS = np.ones(PIXELS.shape, dtype=bool)
MASKS[:, :4] = False
#: What a pixel of each cell adds to the log-odds of a model without interactions.
SLOPES = np.random.default_rng(1).normal(size=(2, *CELLS)) / 1000


def _log_odds(variants: np.ndarray, n: int) -> np.ndarray:
    sums = cell_sums(variants.astype(np.float64), CELLS)
    return (sums * SLOPES[n]).sum(axis=(1, 2))


def _true_map() -> np.ndarray:
    change = np.where(MASKS, PIXELS - GREY, 0)
    return np.stack([cell_sums(change[n : n + 1], CELLS)[0] * SLOPES[n] for n in range(2)])


def _slow(order_of: np.ndarray, *, insertion: bool) -> np.ndarray:
    total = np.zeros(len(CURVE_POINTS))
    for n in range(2):
        # The first row of cells lies outside of the head.
        cells = sorted(((i, j) for i in range(1, 4) for j in range(4)),
                       key=lambda c: -order_of[n][c])  # fmt: skip
        for k, share in enumerate(CURVE_POINTS):
            count = round(share * len(cells))
            picture = PIXELS[n].copy()
            for i, j in cells[count:] if insertion else cells[:count]:
                picture[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = GREY
            total[k] += _log_odds(picture[None], n)[0]
    return total


def _curves() -> Curves:
    maps = {"true": _true_map(), "turned": -_true_map()}
    return curves_of(PIXELS, MASKS, GREY, maps, _log_odds)


def test_curves_are_those_of_a_slow_oracle() -> None:
    found = _curves()
    for kind, values in (("true", _true_map()), ("turned", -_true_map())):
        assert np.allclose(found.deletion[kind], _slow(values, insertion=False))
        assert np.allclose(found.insertion[kind], _slow(values, insertion=True))
    assert np.isclose(found.random_deletion[0], found.random_insertion[-1])


def test_the_best_order_beats_chance_and_the_worst_loses_to_it() -> None:
    rows = {row["method"]: row for row in faithfulness_rows([_curves()] * 3, **FEW)}
    assert rows["true"]["deletion"]["difference"]["value"] < 0
    assert rows["true"]["insertion"]["difference"]["value"] > 0
    assert rows["turned"]["deletion"]["difference"]["value"] > 0
    assert rows["turned"]["insertion"]["difference"]["value"] < 0


def test_the_area_is_that_under_the_curve_by_hand() -> None:
    curve = np.array([2.0, 1.0, 1.0, 0.0, 0.0])
    # Shares 0, .1, .25, .5, 1: .15 + .15 + .125 + 0.
    flat = np.ones(5)
    made = Curves(
        deletion={"m": curve}, insertion={"m": curve}, random_deletion=flat, random_insertion=flat
    )
    (row,) = faithfulness_rows([made, made], **FEW)
    assert row["deletion"]["value"]["value"] == pytest.approx(0.425)
    assert row["deletion"]["difference"]["value"] == pytest.approx(-0.575)
    assert faithfulness_rows([], **FEW) == []


def test_a_map_without_any_order_is_no_better_than_chance_by_the_page() -> None:
    flat = {"flat": np.zeros((2, *CELLS))}
    one, page = (
        curves_of(PIXELS, MASKS, GREY, flat, _log_odds),
        _slow(flat["flat"], insertion=False),
    )
    assert not np.allclose(one.deletion["flat"], page)


def test_curves_of_a_scan_are_of_its_own_heads_and_come_back_from_the_cache(
    tmp_path: Path,
) -> None:
    spec = ExplanationSpec(close_slices=2, gradient_steps=2, patch_cells=2)
    own, stack, trunk = make_trained(n_folds=1), make_stack(), TinyTrunk()
    trunks = [PixelTrunks.of(trunk, TinyTrunk(seed=5))] * len(own)
    weights = np.full((2, SLICES), 0.25, dtype=np.float32)
    shared = {"patient_id": "p", "weights": weights}
    raw = np.random.default_rng(0).normal(size=(SLICES, 4, 4)).astype(np.float32)
    view = attribute_pixels(stack, trunks, own, raw=raw, spec=spec, **shared)
    maps = close_maps(raw, view, patch_cells=2)
    assert next(iter(maps)) == "occlusion"
    # A patch's change is divided among its cells.
    assert maps["occlusion"][0, :2, :2].sum() == pytest.approx(view.occlusion[0, 0, 0])
    curves = close_curves(stack, trunks, own, slices=view.slices, maps=maps, **shared)
    heads = MeanLogOdds(own, trunks, "p", weights)
    whole = sum(
        float(heads([trunk.forward_slices(_tensor(stack.pixels[s : s + 1]))], int(s))[0])
        for s in view.slices
    )
    assert curves.deletion["maps"][0] == pytest.approx(whole, abs=1e-6)
    assert curves.insertion["maps"][-1] == pytest.approx(whole, abs=1e-6)
    store, key = CurveStore(tmp_path), curves_key(attribution_key="a", maps=maps)
    store.put(key, curves)
    again = store.get(key, list(maps))
    assert np.array_equal(again.as_array(), curves.as_array())
    assert key != curves_key(attribution_key="a", maps={**maps, "maps": maps["maps"] + 1})


def _tensor(values: np.ndarray):
    import torch

    return torch.from_numpy(values)
