"""PNG files of slices hold the pixels of the stack and nothing else."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from mri_transfer.report.figures import slice_pngs
from mri_transfer.scans.slices import SliceStack


def test_files_hold_the_pixels_of_the_stack() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 10), dtype=np.uint8)
    stack = SliceStack(scan_id="secret name", pixels=pixels, z_mm=np.arange(3, dtype=np.float32))
    for orientation, expected in (("neurological", pixels), ("radiological", pixels[..., ::-1])):
        files = slice_pngs(stack, orientation=orientation)
        pictures = [Image.open(io.BytesIO(content)) for content in files]
        np.testing.assert_array_equal([np.asarray(one) for one in pictures], expected)
        assert {one.mode for one in pictures} == {"L"}
        assert all(one.info == {} for one in pictures)
        assert not any(b"secret" in content for content in files)
