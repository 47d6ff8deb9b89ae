"""The slices of a scan as PNG files, pixel by pixel what the trunk is given."""

from __future__ import annotations

import io

from mri_transfer.report.figures.tiles import Orientation, oriented
from mri_transfer.scans.slices import SliceStack

__all__ = ["slice_pngs"]


def slice_pngs(stack: SliceStack, *, orientation: Orientation = "neurological") -> list[bytes]:
    """Return each slice as a grey 8-bit PNG file, from the lowest up.

    Parameters
    ----------
    stack : SliceStack
    orientation : {"neurological", "radiological"}
        Neurological is what the trunk is given: the patient's left on the left.

    Returns
    -------
    list of bytes
        Files that hold pixels alone: no name, date or text.
    """
    from PIL import Image

    files = []
    for pixels in oriented(stack.pixels, orientation):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, format="PNG")
        files.append(stream.getvalue())
    return files
