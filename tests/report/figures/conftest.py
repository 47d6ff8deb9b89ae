"""Axes to plot on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@pytest.fixture
def ax() -> Axes:
    from matplotlib.figure import Figure

    return Figure().add_subplot()
