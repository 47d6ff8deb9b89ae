"""Pseudo-sites: what belongs to the scanner is shared by its scans, and noise is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from mri_transfer.scans.pseudo_sites import PseudoSite, pseudo_sites, render
from mri_transfer.scans.volumes import Volume


def _volume(voxels: np.ndarray) -> Volume:
    return Volume(voxels=voxels.astype(np.float32), affine=np.eye(4), scan_id="phantom")


@pytest.fixture
def head() -> Volume:
    rough = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((16, 18, 14)), 2)
    voxels = np.zeros((24, 26, 20))
    voxels[4:-4, 4:-4, 3:-3] = np.clip(60 + 20 * rough / rough.std(), 10, 120)
    return _volume(voxels)


def test_a_site_without_a_look_changes_nothing(head: Volume) -> None:
    for site in pseudo_sites("none"):
        shown = render(head, site, scan_key="a")
        assert shown.voxels.tobytes() == head.voxels.tobytes()


def test_the_contrast_curve_is_a_power_of_the_brightness() -> None:
    voxels = np.zeros((10, 10, 10))
    voxels[2:8, 2:8, 2:8] = 100.0
    voxels[2, 2, 2] = 50.0
    shown = render(_volume(voxels), PseudoSite(name="dark", contrast=2.0), scan_key="a")
    assert shown.voxels[2, 2, 2] == pytest.approx(25.0)
    assert shown.voxels[5, 5, 5] == pytest.approx(100.0)


def test_scans_of_a_site_share_the_field_and_not_the_noise(head: Volume) -> None:
    shaded = PseudoSite(name="coil", bias=40.0, field_seed=3)
    other = dataclasses.replace(head, voxels=head.voxels * 3)
    inside = head.voxels > 0
    one, two = (render(scan, shaded, scan_key=key) for scan, key in ((head, "a"), (other, "b")))
    np.testing.assert_allclose(
        (one.voxels / head.voxels.clip(1))[inside],
        (two.voxels / other.voxels.clip(1))[inside],
        rtol=1e-5,
    )
    assert np.ptp((one.voxels / head.voxels.clip(1))[inside]) > 0.3
    noisy = PseudoSite(name="noisy", noise=5.0)
    first, again, second = (render(head, noisy, scan_key=key).voxels for key in "aab")
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize("severity", ["mild", "severe"])
def test_the_background_stays_and_sites_differ(severity, head: Volume) -> None:
    shown = [render(head, site, scan_key="a").voxels for site in pseudo_sites(severity)]
    assert all((voxels[head.voxels == 0] == 0).all() for voxels in shown)
    assert len({voxels.tobytes() for voxels in shown}) == 5


def test_severe_sites_lie_farther_apart_than_mild_ones(head: Volume) -> None:
    def spread(severity) -> float:
        shown = [render(head, site, scan_key="a").voxels for site in pseudo_sites(severity)]
        return float(np.std(shown, axis=0).mean())

    assert spread("severe") > 1.5 * spread("mild")
