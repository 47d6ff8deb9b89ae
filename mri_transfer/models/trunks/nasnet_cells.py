"""A row of NASNet's cells as a module from maps to maps."""

from __future__ import annotations

import torch

__all__ = ["CellRow"]


class CellRow(torch.nn.Sequential):
    """Cells of a stage, each of which reads the maps of the two before it.

    What goes in and what comes out are the maps of two cells behind each other among the channels,
    the later one first; a row that begins with the stem's cells reads those of `conv0` alone, and
    one that ends with an activation returns the last cell's alone. A row of one module that is no
    cell is that module.
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps, shape (n, channels, rows, columns)."""
        cells = dict(self.named_children())
        if tuple(cells) == ("conv0",):
            return cells["conv0"](maps)  # type: ignore[no-any-return]
        if "cell_stem_0" in cells:
            before = cells.pop("cell_stem_0")(maps)
            last = cells.pop("cell_stem_1")(maps, before)
        else:
            last, before = maps.chunk(2, dim=1)
        ended = cells.pop("act", None)
        for name, cell in cells.items():
            # The cell behind a reduction reads what the reduction read, and not its own input.
            reduced = name.startswith("reduction_cell")
            after = cell(last, before)
            last, before = after, before if reduced else last
        if ended is not None:
            return ended(last)  # type: ignore[no-any-return]
        return torch.cat([last, before], dim=1)
