"""Scores: hand values on volumes whose tissue is painted, and what must not change them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from nilearn import datasets
from scipy import ndimage

from mri_transfer.errors import StoreError
from mri_transfer.scans.preparation import PreparedScan
from mri_transfer.scans.preparation.registration import Alignment
from mri_transfer.scans.quality import ScanScores, ScoreStore, measure_scan, score_key
from mri_transfer.scans.quality.scores import HISTOGRAM_EDGES
from mri_transfer.scans.volumes import Volume

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
#: Every fourth voxel of the template, so that tissue maps need no interpolation.
STEP = 4


def _template(loader: Callable[..., Any]) -> FloatArray:
    image = loader(resolution=1)
    return np.asarray(image.dataobj, dtype=np.float32)[::STEP, ::STEP, ::STEP]


@pytest.fixture(scope="module")
def tissue() -> dict[str, Any]:
    affine = np.asarray(datasets.load_mni152_template(resolution=1).affine) @ np.diag(
        [STEP, STEP, STEP, 1.0]
    )
    return {
        "affine": affine,
        "t1": _template(datasets.load_mni152_template),
        "brain": _template(datasets.load_mni152_brain_mask) > 0,
        "white": _template(datasets.load_mni152_wm_template) > 0.9,
        "grey": _template(datasets.load_mni152_gm_template) > 0.9,
    }


def _scan(
    voxels: FloatArray, tissue: dict[str, Any], **changes: Any
) -> tuple[Volume, PreparedScan]:
    volume = Volume(voxels=voxels.astype(np.float32), affine=tissue["affine"], scan_id="s")
    prepared = PreparedScan(
        volume=volume,
        mask=tissue["brain"],
        covered=np.ones(voxels.shape, dtype=bool),
        alignment=Alignment(
            matrix=np.diag([1.25, 1.0, 0.8, 1.0]),
            turn=0,
            tilt_deg=3.5,
            information=0.7,
            margin=0.25,
        ),
        steps=("affine registration",),
        turn=0,
        margin=0.25,
    )
    return volume, dataclasses.replace(prepared, **changes)


def _values(voxels: FloatArray, tissue: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return measure_scan(*_scan(voxels, tissue, **changes)).values


def _spread_evenly(where: BoolArray, values: list[float], voxels: FloatArray) -> None:
    voxels[where] = np.resize(np.float32(values), where.sum())


def test_signal_and_contrast_to_noise_by_hand(tissue: dict[str, Any]) -> None:
    voxels = np.where(tissue["brain"], 50.0, 0.0).astype(np.float32)
    # Quartiles of -20, -10, 0, 10, 20 about the middle are -10 and 10.
    _spread_evenly(tissue["white"], [280, 290, 300, 310, 320], voxels)
    _spread_evenly(tissue["grey"], [180, 190, 200, 210, 220], voxels)
    values = _values(voxels, tissue)
    noise = 20 / 1.349
    assert values["snr"] == pytest.approx(300 / noise, rel=1e-4)
    assert values["contrast"] == pytest.approx(1.5, rel=1e-4)
    assert values["cnr"] == pytest.approx(100 / (np.sqrt(2) * noise), rel=1e-4)


def test_tissue_is_not_scored_where_the_head_is_turned(tissue: dict[str, Any]) -> None:
    values = _values(tissue["t1"], tissue, turn=4)
    assert values["turned"] == 1.0
    assert values["snr"] is values["cnr"] is values["contrast"] is None
    assert _values(tissue["t1"], tissue)["turned"] == 0.0


def test_the_template_itself_fits_itself(tissue: dict[str, Any]) -> None:
    values = _values(100 * tissue["t1"], tissue)
    assert values["dice"] == pytest.approx(1, abs=1e-3)
    assert values["similarity"] == pytest.approx(1, abs=1e-3)
    assert values["coverage"] == pytest.approx(1, abs=1e-3)
    assert values["holes"] < 0.01
    assert values["contrast"] > 1.1


def test_what_the_field_of_view_leaves_out_is_missing(tissue: dict[str, Any]) -> None:
    covered = np.ones(tissue["brain"].shape, dtype=bool)
    covered[:, :, 24:] = False
    values = _values(tissue["t1"], tissue, covered=covered, mask=tissue["brain"] & covered)
    expected = (tissue["brain"] & covered).sum() / tissue["brain"].sum()
    assert values["coverage"] == pytest.approx(expected, abs=0.01)
    assert values["dice"] == pytest.approx(1, abs=1e-2)  # of what can be seen, nothing is missed


def test_size_and_proportions_come_from_the_registration(tissue: dict[str, Any]) -> None:
    volume, prepared = _scan(tissue["t1"], tissue)
    values = measure_scan(volume, prepared).values
    assert values["stretch"] == pytest.approx(1.25 / 0.8)
    assert values["tilt_deg"] == 3.5
    assert values["turn_lead"] == 0.25
    assert values["spacing_mm"] == STEP


def test_litres_count_the_voxels_own_size(tissue: dict[str, Any]) -> None:
    """The mask's millimetres in the template, times how much larger the scan is."""
    values = _values(tissue["t1"], tissue)
    litres = tissue["brain"].sum() * STEP**3 * (1.25 * 1.0 * 0.8) * 1e-6
    assert values["brain_litres"] == pytest.approx(litres, rel=1e-3)


def test_a_scan_that_was_not_registered_has_no_size(tissue: dict[str, Any]) -> None:
    values = _values(tissue["t1"], tissue, alignment=None, margin=0.0)
    assert values["brain_litres"] is values["stretch"] is values["tilt_deg"] is None
    # Nobody has looked how it lies: that is no doubt about it.
    assert values["turned"] is values["turn_lead"] is None


def test_signal_without_noise_or_without_grey_matter_has_no_ratio(tissue: dict[str, Any]) -> None:
    flat = np.where(tissue["brain"], 50.0, 0.0)
    flat[tissue["white"]] = 80
    values = _values(flat, tissue)
    assert values["snr"] is values["cnr"] is None
    assert values["contrast"] == pytest.approx(1.6)
    lost = np.where(tissue["white"], 80.0, 0.0)
    values = _values(lost, tissue)
    assert values["snr"] is values["cnr"] is values["contrast"] is None


def test_holes_are_the_dark_share_of_the_deep_brain(tissue: dict[str, Any]) -> None:
    voxels = np.where(tissue["brain"], 100.0, 0.0).astype(np.float32)
    assert _values(voxels, tissue)["holes"] == 0.0
    inside = ndimage.distance_transform_edt(tissue["brain"]) * STEP
    # A ball in the middle of the brain: its voxels are deep, whatever "deep" means at the rim.
    x, y, z = (np.array(np.nonzero(tissue["brain"])).mean(axis=1)).round().astype(int)
    voxels[x - 2 : x + 3, y - 2 : y + 3, z - 2 : z + 3] = 0.5  # half a percent of the median
    found = _values(voxels, tissue)["holes"]
    assert 125 / (inside > 0).sum() < found < 125 / (inside > 12).sum()
    voxels[voxels == 0.5] = 2.0  # two percent: dark, but signal
    assert _values(voxels, tissue)["holes"] == 0.0


def test_grey_levels_count_what_is_above_the_background(tissue: dict[str, Any]) -> None:
    voxels = np.zeros(tissue["brain"].shape, dtype=np.float32)
    voxels[tissue["brain"]] = np.resize(np.float32([3, 5, 8, 13]), tissue["brain"].sum())
    assert _values(voxels, tissue)["grey_levels"] == 4
    assert _values(voxels - 7, tissue)["grey_levels"] == 4


def test_one_slice_that_does_not_belong_breaks_the_stack(tissue: dict[str, Any]) -> None:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).random(tissue["brain"].shape), 3)
    whole = _values(smooth, tissue)["slice_break"]
    assert whole > 0.9
    broken = smooth.copy()
    broken[:, :, 22] = np.random.default_rng(1).random(broken.shape[:2]) * smooth.mean()
    assert _values(broken, tissue)["slice_break"] < 0.3
    constant = smooth.copy()
    constant[:, :, 22] = smooth.mean()
    assert _values(constant, tissue)["slice_break"] == 0.0


def test_sharpness_of_a_ramp_is_its_slope(tissue: dict[str, Any]) -> None:
    ramp = np.broadcast_to(
        1000 + 3.0 * np.arange(tissue["brain"].shape[0])[:, None, None], tissue["brain"].shape
    )
    median = np.median(ramp[tissue["brain"]])
    assert _values(ramp, tissue)["sharpness"] == pytest.approx(3 / median, rel=1e-4)


def test_blur_lowers_sharpness(tissue: dict[str, Any]) -> None:
    soft = ndimage.gaussian_filter(tissue["t1"], 1.0)
    assert _values(soft, tissue)["sharpness"] < 0.7 * _values(tissue["t1"], tissue)["sharpness"]


def _entropy_focus(voxels: FloatArray, tissue: dict[str, Any]) -> float | None:
    """Of a raw scan, whatever was made of it."""
    _, prepared = _scan(tissue["t1"], tissue)
    raw = Volume(voxels=voxels.astype(np.float32), affine=np.eye(4), scan_id="raw")
    return measure_scan(raw, prepared).values["entropy_focus"]


def test_entropy_focus_in_closed_form(tissue: dict[str, Any]) -> None:
    bright = np.zeros((10, 10, 10))
    bright[3, 4, 5] = 70
    assert _entropy_focus(bright, tissue) == pytest.approx(0, abs=1e-9)
    assert _entropy_focus(np.full((10, 10, 10), 7.0), tissue) is None  # no signal above the floor
    # m equal voxels of n: each holds 1/sqrt(m) of the energy.
    m, n = 250, 1000
    equal = np.zeros(n)
    equal[:m] = 3
    expected = np.sqrt(m) * np.log(np.sqrt(m)) / (np.sqrt(n) * np.log(np.sqrt(n)))
    assert _entropy_focus(equal.reshape(10, 10, 10), tissue) == pytest.approx(expected, rel=1e-4)
    nearly = np.ones(n)
    nearly[0] = 0
    assert _entropy_focus(nearly.reshape(10, 10, 10), tissue) == pytest.approx(1, abs=2e-3)


def test_no_score_depends_on_the_unit_of_the_signal(tissue: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    voxels = 700 * tissue["t1"] + tissue["brain"] * rng.integers(1, 60, tissue["t1"].shape)
    one, other = (measure_scan(*_scan(k * voxels, tissue)) for k in (1.0, 16.0))
    assert one.values.keys() == other.values.keys()
    for name, value in one.values.items():
        assert other.values[name] == pytest.approx(value, rel=1e-3), name
    assert one.histogram == pytest.approx(other.histogram, abs=1e-4)


def test_the_histogram_is_of_the_brain_over_its_median(tissue: dict[str, Any]) -> None:
    voxels = np.zeros(tissue["brain"].shape)
    n = int(tissue["brain"].sum())
    voxels[tissue["brain"]] = np.r_[np.full(n - n // 4, 100.0), np.full(n // 4, 163.0)]
    scores = measure_scan(*_scan(voxels, tissue))
    share = dict(zip(HISTOGRAM_EDGES.round(6), scores.histogram, strict=False))
    assert sum(scores.histogram) == pytest.approx(1, abs=1e-4)
    assert share[1.0] == pytest.approx(0.75, abs=1e-3)
    assert share[1.6] == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("fill", [0.0, 5.0])
def test_an_empty_brain_has_scores_all_the_same(tissue: dict[str, Any], fill: float) -> None:
    voxels = np.full(tissue["brain"].shape, fill)
    for mask in (tissue["brain"], np.zeros_like(tissue["brain"])):
        scores = measure_scan(*_scan(voxels, tissue, mask=mask))
        known = [value for value in scores.values.values() if value is not None]
        assert np.isfinite(known).all()
        json.dumps(dataclasses.asdict(scores), allow_nan=False)


def test_scores_come_back_from_the_cache_as_they_went_in(
    tissue: dict[str, Any], tmp_path: Path
) -> None:
    scores = measure_scan(*_scan(tissue["t1"], tissue))
    store, key = ScoreStore(tmp_path), score_key("a" * 64)
    assert key not in store
    store.put(key, scores)
    assert key in store
    assert store.get(key) == scores
    assert isinstance(store.get(key), ScanScores)
    first = store.path(key).read_bytes()
    store.put(key, measure_scan(*_scan(tissue["t1"], tissue)))
    assert store.path(key).read_bytes() == first


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"schema": "other/1"}', '{"values": {}}']
)
def test_damaged_scores_are_told(content: str, tmp_path: Path) -> None:
    store, key = ScoreStore(tmp_path), score_key("a" * 64)
    store.path(key).parent.mkdir(parents=True)
    store.path(key).write_text(content)
    with pytest.raises(StoreError, match="damaged"):
        store.get(key)


def test_a_missing_file_of_scores_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        ScoreStore(tmp_path).get(score_key("a" * 64))


def test_each_prepared_scan_has_its_own_key() -> None:
    assert score_key("a" * 64) != score_key("b" * 64)
    assert len(score_key("a" * 64)) == 64
