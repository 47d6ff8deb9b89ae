"""What of a tail is trained: all of it, or few parameters that are put beside frozen ones."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn.utils import parametrize

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.tails.spec import TuningSpec

__all__ = ["adapt", "count_trained", "merge", "moment_layers"]

_NORMALISATIONS = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.GroupNorm, torch.nn.LayerNorm)


class _ScaleShift(torch.nn.Module):
    """A factor and an offset for each channel (SSF; Lian et al. 2022, NeurIPS 35:109-123).

    Parameters
    ----------
    channels : int
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(channels))
        self.shift = torch.nn.Parameter(torch.zeros(channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return maps (n, channels, rows, columns), scaled and shifted."""
        return maps * self.scale[:, None, None] + self.shift[:, None, None]


class _Factors(torch.nn.Module):
    """Two factors of a matrix of low rank, whose product is zero at the start.

    Parameters
    ----------
    n_outputs, n_inputs, rank : int
    generator : torch.Generator
        Draws the first factor.
    """

    def __init__(
        self, n_outputs: int, n_inputs: int, rank: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        drawn = torch.randn(rank, n_inputs, generator=generator) / n_inputs**0.5
        self.down = torch.nn.Parameter(drawn)
        self.up = torch.nn.Parameter(torch.zeros(n_outputs, rank))


class _LowRank(_Factors):
    """A kernel plus an update of low rank, zero at the start (LoRA; Hu et al. 2022, ICLR).

    The update is a convolution into `rank` channels followed by one of 1 x 1 pixels.

    Parameters
    ----------
    kernel : Tensor, shape (channels out, channels in, rows, columns)
    rank : int
    generator : torch.Generator
        Draws the first factor.
    """

    def __init__(self, kernel: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__(len(kernel), kernel[0].numel(), rank, generator)

    def forward(self, kernel: torch.Tensor) -> torch.Tensor:
        """Return the kernel that is used."""
        return kernel + (self.up @ self.down).view_as(kernel)


class _Parallel(_Factors):
    """A kernel beside which a convolution of 1 x 1 pixels runs, of low rank and zero at the start.

    Residual adapters in parallel (TSA; Li, Liu and Bilen 2022, CVPR), with a matrix of low rank in
    place of a full one. Such a convolution is an update of the kernel's middle.

    Parameters
    ----------
    kernel : Tensor, shape (channels out, channels in, rows, columns)
    rank : int
    generator : torch.Generator
        Draws the first factor.
    """

    def __init__(self, kernel: torch.Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__(len(kernel), kernel.shape[1], rank, generator)

    def forward(self, kernel: torch.Tensor) -> torch.Tensor:
        """Return the kernel that is used."""
        rows, columns = kernel.shape[2:]
        beside = (self.up @ self.down)[:, :, None, None]
        above, left = rows // 2, columns // 2
        edges = (left, columns - 1 - left, above, rows - 1 - above)
        return kernel + torch.nn.functional.pad(beside, edges)


#: Methods that update kernels, and what makes the update.
_UPDATES = {"lora": _LowRank, "parallel": _Parallel}


def adapt(network: torch.nn.Module, spec: TuningSpec, *, seed: int = 0) -> None:
    """Add the method's own parameters to a network, in place; only what is to train asks gradients.

    At the start the network computes what it computed before.

    Parameters
    ----------
    network : Module
    spec : TuningSpec
        Its method and rank.
    seed : int
        Draws the first factors of `lora` and `parallel`.

    Raises
    ------
    ConfigurationError
        If the network has no layer that the method works on.
    """
    network.requires_grad_(spec.method == "full")
    layers = _NORMALISATIONS if spec.method == "norm" else (torch.nn.Conv2d,)
    found = [layer for layer in network.modules() if isinstance(layer, layers)]
    if not found:
        raise ConfigurationError(
            "the thawed stages have no layer that this method trains",
            where="tuning.method",
            found=spec.method,
            expected="a trunk with normalisation layers behind the cut for `norm`, with "
            "convolutions for the others",
        )
    generator = torch.Generator().manual_seed(seed)
    for layer in found:
        if spec.method == "norm":
            layer.requires_grad_(True)
        elif spec.method == "ssf":
            # A hook leaves the names of all other parameters as they are.
            layer.register_module("scale_shift", _ScaleShift(_channels(layer)))
            layer.register_forward_hook(_scale_and_shift)
        elif spec.method in _UPDATES:
            kernel = layer.weight
            assert isinstance(kernel, torch.Tensor)
            update = _UPDATES[spec.method](kernel.detach(), spec.rank, generator)
            parametrize.register_parametrization(layer, "weight", update)


def merge(network: torch.nn.Module) -> None:
    """Work what `adapt` added into the kernels, in place: plain layers that compute the same.

    For programs that know nothing of adapters. Rounding may differ.
    """
    for layer in list(network.modules()):
        if not isinstance(layer, torch.nn.Conv2d):
            continue
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        added = getattr(layer, "scale_shift", None)
        if isinstance(added, _ScaleShift):
            layer._forward_hooks.clear()
            del layer.scale_shift
            bias = torch.zeros_like(added.shift) if layer.bias is None else layer.bias
            layer.weight = torch.nn.Parameter(layer.weight * added.scale[:, None, None, None])
            layer.bias = torch.nn.Parameter(bias * added.scale + added.shift)
    network.requires_grad_(False)


def count_trained(network: torch.nn.Module, spec: TuningSpec) -> int:
    """Return how many parameters `adapt` would leave to train, without changing the network.

    Parameters
    ----------
    network : Module
        Thawed stages, perhaps without numbers (on the meta device).
    spec : TuningSpec
    """
    if spec.method == "full":
        return sum(p.numel() for p in network.parameters())
    if spec.method == "norm":
        layers = (m for m in network.modules() if isinstance(m, _NORMALISATIONS))
        return sum(p.numel() for layer in layers for p in layer.parameters())
    kernels = [m.weight for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    if spec.method == "ssf":
        return sum(2 * len(kernel) for kernel in kernels)
    if spec.method == "parallel":
        return sum(spec.rank * (len(kernel) + kernel.shape[1]) for kernel in kernels)
    return sum(spec.rank * (len(kernel) + kernel[0].numel()) for kernel in kernels)


def moment_layers(network: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yield the layers that keep moments of what passes them."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            yield layer


def _channels(layer: torch.nn.Module) -> int:
    assert isinstance(layer, torch.nn.Conv2d)
    return layer.out_channels


def _scale_and_shift(
    layer: torch.nn.Module, given: tuple[torch.Tensor, ...], maps: torch.Tensor
) -> torch.Tensor:
    del given
    scale_shift = layer.get_submodule("scale_shift")
    changed: torch.Tensor = scale_shift(maps)
    return changed
