"""Feature maps are those of the network that scored the patient; filters show what training did."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from mri_transfer.explain import FeatureMaps, read_feature_maps
from mri_transfer.explain.choice import ChosenPatient
from mri_transfer.explain.feature_maps import write_feature_maps
from mri_transfer.explain.feature_pass import pass_slice
from mri_transfer.models.trunks import InputScaling, TrunkNetwork
from mri_transfer.scans.slices import SliceStack
from tests.tails_phantom import stages

_SCALING = InputScaling(mean=(127.0,) * 3, deviation=(128.0, 64.0, 32.0), words="made up")
_PATIENT = ChosenPatient(patient_id="p1", label="AD", score=0.9, outcome="correct")


@pytest.fixture
def untuned() -> TrunkNetwork:
    return TrunkNetwork(stages(), _SCALING).eval()


@pytest.fixture
def stack() -> SliceStack:
    pixels = np.zeros((5, 24, 24), dtype=np.uint8)
    pixels[:, 6:18, 8:16] = np.random.default_rng(0).integers(140, 250, (5, 12, 8))
    return SliceStack(scan_id="s1", pixels=pixels, z_mm=np.arange(5, dtype=np.float32))


def _passed(
    stack: SliceStack, untuned: TrunkNetwork, tuned: TrunkNetwork | None = None
) -> FeatureMaps:
    return pass_slice(stack, _PATIENT, untuned=untuned, tuned=tuned, repeat=1, fold=2)


def test_maps_are_those_of_each_stage_of_the_middle_slice(stack, untuned) -> None:
    found = _passed(stack, untuned)
    document = found.document
    assert (document.slice, document.z_mm, document.tuned) == (2, 2.0, False)
    assert [(s.name, s.n_channels, s.rows) for s in document.stages] == [
        ("stem", 4, 12), ("middle", 6, 6), ("deep", 8, 3),
    ]  # fmt: skip
    np.testing.assert_array_equal(found.slice, stack.pixels[2])
    with torch.inference_mode():
        last = untuned(torch.from_numpy(stack.pixels[2:3]))[0].numpy()
    for grey, channel in zip(found.stages[-1], document.stages[-1].channels, strict=True):
        maps = last[channel]
        spread = np.ptp(maps)
        expected = 255 * (maps - maps.min()) / spread if spread else np.zeros_like(maps)
        np.testing.assert_allclose(grey, expected, atol=0.51)
    assert found.untuned is None
    assert found.filters is None


def test_a_channel_that_answers_to_the_background_alone_is_not_strong(stack, untuned) -> None:
    with torch.no_grad():
        stem = untuned.prefix[0]
        stem[0].weight.zero_()
        stem[0].bias.zero_()
        # The background is darker than the mean: only a negative kernel answers to it.
        stem[0].weight[0, :, 1, 1] = -50.0
        stem[0].weight[1, :, 1, 1] = 1.0
        stem[1].running_mean.zero_()
        stem[1].running_var.fill_(1.0)
    channels = _passed(stack, untuned).document.stages[0].channels
    assert channels[0] == 1


def test_before_and_after_share_a_scale(stack, untuned) -> None:
    tuned = copy.deepcopy(untuned)
    with torch.no_grad():
        deep = tuned.prefix[2]
        deep[1].weight.mul_(2.0)  # of the normalisation
        deep[1].bias.mul_(2.0)
    found = _passed(stack, untuned, tuned)
    assert found.document.tuned
    assert found.untuned is not None
    shown = found.stages[-1].max(axis=(1, 2)) > 0
    assert shown.any()
    # Twice as large after tuning, where the smallest value is zero before and after.
    zero = (found.stages[-1].min(axis=(1, 2)) == 0) & shown
    np.testing.assert_allclose(found.untuned[zero], found.stages[-1][zero] / 2, atol=1)
    assert found.filters is None  # the first layer did not move


def test_filters_that_moved_most_come_first_and_act_on_grey(stack, untuned) -> None:
    tuned = copy.deepcopy(untuned)
    with torch.no_grad():
        kernel = tuned.prefix[0][0].weight
        kernel[3, :, 0, 0] += 128.0
        kernel[1, 0, 2, 1] += 64.0
    found = _passed(stack, untuned, tuned)
    assert found.document.filters == (3, 1)
    before, after = found.filters
    # A slice fills three channels, each over its own deviation: 128/128 + 128/64 + 128/32.
    assert after[0, 0, 0] - before[0, 0, 0] == pytest.approx(7.0, abs=1e-4)
    assert after[1, 2, 1] - before[1, 2, 1] == pytest.approx(0.5, abs=1e-4)
    assert np.count_nonzero(np.abs(after - before) > 1e-4) == 2


def test_threads_change_nothing_and_files_hold_all(stack, untuned, tmp_path) -> None:
    tuned = copy.deepcopy(untuned)
    with torch.no_grad():
        tuned.prefix[0][0].weight.add_(0.1)
    before, contents = torch.get_num_threads(), []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        try:
            files = write_feature_maps(_passed(stack, untuned, tuned), tmp_path / str(n_threads))
        finally:
            torch.set_num_threads(before)
        contents.append([file.read_bytes() for file in files])
    assert contents[0] == contents[1]
    found, again = _passed(stack, untuned, tuned), read_feature_maps(tmp_path / "1")
    assert again.document == found.document
    for name in ("slice", "untuned", "filters"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    for one, other in zip(again.stages, found.stages, strict=True):
        np.testing.assert_array_equal(one, other)
