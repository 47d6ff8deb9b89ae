"""The bias field: a field that was put in is found again."""

from __future__ import annotations

import numpy as np
import pytest

from mri_transfer.scans.preparation.bias import bias_field
from mri_transfer.scans.preparation.registration import one_thread
from mri_transfer.scans.preparation.template import image_of_array
from tests.heads_phantom import grow_head


def test_a_smooth_field_is_recovered_up_to_a_factor() -> None:
    head = grow_head(bias=1.0)  # a factor of about 2 between one end of the brain and the other
    with one_thread():
        found = bias_field(image_of_array(head.volume.voxels, head.volume.affine), head.brain)
    assert found.shape == head.volume.voxels.shape
    assert found.dtype == np.float32
    assert (found > 0).all()
    assert np.exp(np.log(found[head.brain]).mean()) == pytest.approx(1, abs=1e-4)
    there, here = np.log(head.field[head.brain]), np.log(found[head.brain])
    assert np.corrcoef(there, here)[0, 1] > 0.9
    # Its strength as well as its shape: little of it is left.
    left = there - here
    assert left.std() < 0.5 * there.std()
