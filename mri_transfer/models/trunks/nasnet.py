"""NASNet-A Large, whose cells each read the maps of the last two cells."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from mri_transfer.models.trunks.library import HALF, LibraryTrunk

if TYPE_CHECKING:
    import torch

__all__ = ["NASNET"]


def _cells(first: int, last: int) -> tuple[str, ...]:
    return tuple(f"cell_{i}" for i in range(first, last + 1))


def _stage(modules: OrderedDict[str, torch.nn.Module]) -> torch.nn.Sequential:
    from mri_transfer.models.trunks.nasnet_cells import CellRow

    return CellRow(modules)


#: Between two stages pass the maps of two cells, one behind the other among the channels: both are
#: of the same size there, and both are read by the next cell.
NASNET = LibraryTrunk(
    title="NASNet-A Large",
    library="timm",
    model="nasnetalarge.tf_in1k",
    stages={
        "conv0": ("conv0",),
        "cells0_5": ("cell_stem_0", "cell_stem_1", *_cells(0, 5)),
        "cells6_11": ("reduction_cell_0", *_cells(6, 11)),
        "cells12_17": ("reduction_cell_1", *_cells(12, 17), "act"),
    },
    container=_stage,
    default_stage="cells6_11",
    input_px=331,
    scalings={"half": HALF},
    activations_per_pixel=33,
    paper="Zoph et al. 2018, arXiv:1707.07012",
    licence="Apache-2.0",
    authors="the authors of TensorFlow",
).entry()
