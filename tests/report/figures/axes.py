"""What was plotted on axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["line"]


def line(ax: Axes, gid: str) -> npt.NDArray[np.float64]:
    """Return the vertices of a line, shape (n, 2)."""
    (drawn,) = [line for line in ax.lines if line.get_gid() == gid]
    return np.asarray(drawn.get_xydata())
