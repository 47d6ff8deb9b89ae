"""A volume as one picture: where each voxel ends up, and at which millimetre."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mri_transfer.report.figures.mosaic import Mosaic, volume_mosaic


def plane(mosaic: Mosaic, z: int) -> np.ndarray:
    """Return an axial plane of a mosaic, shape (ny, nx), the way the page's script reads it."""
    nx, ny, _ = mosaic.shape
    sheet = np.asarray(Image.open(io.BytesIO(mosaic.content)).convert("L"))
    top, left = z // mosaic.columns * ny, z % mosaic.columns * nx
    return sheet[top : top + ny, left : left + nx].astype(float)


def head() -> np.ndarray:
    """Return a smooth head, brighter to the right, to the front and upwards, in an empty margin."""
    x, y, z = np.mgrid[0:40, 0:56, 0:30].astype(np.float32)
    voxels = np.zeros((48, 64, 38), dtype=np.float32)
    voxels[4:44, 5:61, 6:36] = 100 + 4 * x + 2 * y + 3 * z
    return voxels


def test_every_voxel_of_the_head_is_where_its_plane_says() -> None:
    voxels = head()
    affine = np.diag([2.0, 1.0, 1.5, 1.0])
    affine[:3, 3] = (-90, -126, -72)
    mosaic = volume_mosaic(voxels, affine, (2.0, 1.0, 1.5))
    assert mosaic.shape == (40, 56, 30)
    # The first voxel of the head has the index (4, 5, 6).
    assert mosaic.origin_mm == pytest.approx((-90 + 8, -126 + 5, -72 + 9))
    assert mosaic.spacing_mm == (2.0, 1.0, 1.5)
    black, white = np.percentile(voxels[voxels > 0], [0.5, 99.5])
    for z in (0, 11, 29):
        wanted = np.clip((voxels[4:44, 5:61, 6 + z].T - black) / (white - black) * 255, 0, 255)
        # Of a lossy picture: no more than a few grey values anywhere.
        assert np.abs(plane(mosaic, z) - wanted).max() < 12


def test_an_oblique_scan_gets_the_positions_along_its_central_axes() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.5
    voxels = np.ones((5, 9, 3), dtype=np.float32)
    assert volume_mosaic(voxels, affine, (1.0, 1.1, 1.0)).origin_mm == pytest.approx(
        (2.0, 0.0, 0.0)
    )


def test_an_empty_scan_is_a_black_picture() -> None:
    mosaic = volume_mosaic(np.zeros((4, 5, 6), dtype=np.float32), np.eye(4), (1.0, 1.0, 1.0))
    assert mosaic.shape == (4, 5, 6)
    assert plane(mosaic, 5).max() == 0


def test_the_same_volume_makes_the_same_bytes() -> None:
    first, again = (volume_mosaic(head(), np.eye(4), (1.0, 1.0, 1.0)) for _ in range(2))
    assert first == again
