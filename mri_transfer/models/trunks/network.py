"""TrunkNetwork: a trunk's stages as one module, divided by a cut into frozen and trainable."""

from __future__ import annotations

from typing import Self

import torch

from mri_transfer.models.trunks.entry import INPUT, InputScaling

__all__ = ["TrunkNetwork"]


class TrunkNetwork(torch.nn.Module):
    """Grey slices to maps: the input's scaling, a frozen prefix, a trainable tail.

    Everything up to the cut never changes: no gradient reaches its parameters, and it stays in
    evaluation mode, so that moments of normalisation stay as they are. Its output is a function
    of one scan and may be cached. What lies behind the cut is trained inside folds; it is empty
    unless a cut is named.

    Parameters
    ----------
    stages : Sequential
        Named stages, red, green and blue in.
    scaling : InputScaling
    cut : str, optional
        The last stage of the prefix; `INPUT` makes the prefix empty.

    Raises
    ------
    ValueError
        If there is no such stage.
    """

    def __init__(
        self, stages: torch.nn.Sequential, scaling: InputScaling, *, cut: str | None = None
    ) -> None:
        super().__init__()
        names = [name for name, _ in stages.named_children()]
        if cut not in (None, INPUT, *names):
            raise ValueError(f"no stage {cut} to cut at; there is {', '.join((INPUT, *names))}")
        n_frozen = len(names) if cut is None else 0 if cut == INPUT else names.index(cut) + 1
        self.scaling = scaling
        # A slice of a Sequential keeps the names of its stages.
        self.prefix = stages[:n_frozen].requires_grad_(False)
        self.tail = stages[n_frozen:]
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the tail to training or evaluation; the prefix stays in evaluation mode."""
        super().train(mode)
        self.prefix.eval()
        return self

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the maps of the last stage.

        Parameters
        ----------
        pixels : Tensor, shape (n, height, width)
            Grey values 0..255.

        Returns
        -------
        Tensor of float32 or more precise, shape (n, channels, rows, columns)
        """
        return self.resume(self.prefix(self.to_input(pixels)))

    def resume(self, kept: torch.Tensor) -> torch.Tensor:
        """Return the maps of the last stage from what lies at the cut.

        Parameters
        ----------
        kept : Tensor, shape (n, channels, rows, columns) or (n, height, width)
            What the prefix makes of slices or, where the prefix is empty, their grey values.

        Returns
        -------
        Tensor of float32 or more precise, shape (n, channels, rows, columns)
        """
        given = self.to_input(kept) if kept.ndim == 3 else kept
        maps: torch.Tensor = self.tail(given)
        return maps if maps.dtype == torch.float64 else maps.float()

    def layers(self) -> list[torch.nn.Module]:
        """Return the layers of trunks whose stages are plain rows of layers, one after another."""
        return [
            layer
            for part in (self.prefix, self.tail)
            for stage in part
            for layer in stage.children()
        ]

    def to_input(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return what the first stage reads: three channels, scaled, in the network's precision.

        Parameters
        ----------
        pixels : Tensor, shape (n, height, width)
            Grey values 0..255; each fills the three channels.

        Returns
        -------
        Tensor, shape (n, 3, height, width)
        """
        dtype = next((p.dtype for p in self.parameters()), torch.float32)
        grey = pixels.to(torch.promote_types(dtype, torch.float32))[:, None]
        mean, deviation = (
            torch.tensor(values, dtype=grey.dtype, device=grey.device).view(1, 3, 1, 1)
            for values in (self.scaling.mean, self.scaling.deviation)
        )
        scaled = (grey - mean) / deviation
        return scaled.to(dtype).contiguous(memory_format=torch.channels_last)
