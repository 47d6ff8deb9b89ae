"""The public names of the evaluation."""

from __future__ import annotations

import mri_transfer.evaluation as package


def test_every_public_name_exists_and_is_documented():
    assert sorted(package.__all__) == package.__all__
    for name in package.__all__:
        assert getattr(package, name).__doc__
