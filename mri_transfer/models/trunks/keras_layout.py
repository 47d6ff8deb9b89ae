"""Keras's tensors under the names, and in the order of axes, that torch has for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mri_transfer.models.trunks.weight_files import Tensors

__all__ = ["convolution", "depthwise", "from_keras", "normalisation"]

#: Name in torch, name in Keras, the axes of Keras's in torch's order.
_Rule = tuple[str, str, tuple[int, ...]]

_PLAIN = (0,)


def convolution(module: str, layer: str, variable: str = "kernel") -> Iterator[_Rule]:
    """Yield the kernel of a convolution: (rows, columns, in, out) becomes (out, in, rows, ...)."""
    yield f"{module}.weight", f"{layer}/{variable}", (3, 2, 0, 1)


def depthwise(module: str, layer: str, variable: str = "depthwise_kernel") -> Iterator[_Rule]:
    """Yield the kernel of a convolution by channel: (rows, columns, channels, 1)."""
    yield f"{module}.weight", f"{layer}/{variable}", (2, 3, 0, 1)


def normalisation(module: str, layer: str) -> Iterator[_Rule]:
    """Yield what a batch normalisation scales, adds, and its moments."""
    pairs = {
        "weight": "gamma",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }
    for name, variable in pairs.items():
        yield f"{module}.{name}", f"{layer}/{variable}", _PLAIN


def from_keras(stored: Tensors, rules: Iterable[_Rule]) -> Tensors:
    """Return the tensors that there are, under torch's names.

    Parameters
    ----------
    stored : dict of str to ndarray
        As `read_weights_file` returns them. Without any of Keras's names it is returned as it is:
        it may hold torch's already.
    rules : iterable
        What the functions of this module yield.
    """
    if not any("/" in name for name in stored):
        return stored
    return {name: stored[key].transpose(axes).copy() for name, key, axes in rules if key in stored}
