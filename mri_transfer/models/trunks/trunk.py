"""Trunk: a frozen network from slices to feature maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import torch

from mri_transfer.core.threads import one_core_each
from mri_transfer.models.trunks.device import (
    DeviceName,
    FloatPrecision,
    native_precision,
    resolve_device,
)
from mri_transfer.models.trunks.network import TrunkNetwork
from mri_transfer.models.trunks.registry import TRUNKS
from mri_transfer.models.trunks.spec import TrunkSpec, trunk_arithmetic, weights_settled
from mri_transfer.models.trunks.weights import TrunkWeights
from mri_transfer.models.trunks.winograd_pass import WinogradPass, winograd_layers

__all__ = ["FLOAT_PRECISIONS", "Trunk", "load_trunk"]

FLOAT_PRECISIONS: dict[FloatPrecision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
}

#: Largest activation of one pass on a processor. From 32 MiB on the C library maps and unmaps
#: every block anew, and a third of the time goes into page faults.
_ACTIVATION_BYTES = 26 * 2**20


class Trunk:
    """A frozen network: evaluation mode, no gradients, parameters that never change.

    Parameters
    ----------
    spec : TrunkSpec
        Where it leaves open which weights are meant, the trunk's own `spec` names these.
    weights : TrunkWeights
    precision : {"fp32", "bf16"}
        What the network computes in.
    device : {"cpu", "cuda"}
    """

    def __init__(
        self,
        spec: TrunkSpec,
        weights: TrunkWeights,
        *,
        precision: FloatPrecision,
        device: DeviceName,
    ) -> None:
        if not weights_settled(spec):
            spec = dataclasses.replace(spec, digest=weights.digest)
        self.spec = spec
        self.weights_digest = weights.digest
        self.weights_source = weights.source
        self.precision = precision
        self.device = device
        entry = TRUNKS[spec.name]
        self._activations_per_pixel = entry.activations_per_pixel
        stages = entry.architecture()[: entry.stages.index(spec.layer) + 1]
        entry.fill(stages, weights)
        network = TrunkNetwork(stages, entry.scalings[spec.input_scaling]).eval()
        self.network = network.to(device, FLOAT_PRECISIONS[precision]).to(
            memory_format=torch.channels_last
        )
        self.arithmetic = trunk_arithmetic(spec, precision=precision, device=device)
        self._winograd: WinogradPass | None = None

    def forward_slices(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pass slices through the network.

        Parameters
        ----------
        pixels : Tensor of uint8, shape (n, height, width)
            Grey values 0..255; each fills the three channels.

        Returns
        -------
        Tensor of float32, shape (n, channels, rows, columns)
            The maps of `spec.layer`, on the trunk's device.
        """
        height_px, width_px = pixels.shape[1:]
        if self.arithmetic == "winograd/1":
            winograd = self._winograd_pass(height_px, width_px)
            parts, forward = torch.split(pixels, winograd.n_slices), winograd.forward
        else:
            parts = torch.split(pixels, self._micro_batch(height_px, width_px))
            forward = self._forward
        if self.device == "cuda":
            # Single precision is single precision (no TF32), and two passes give the same bytes.
            with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                return torch.cat([forward(part) for part in _copied_to_gpu(parts)])
        # A core each takes whole parts: no two wait for each other after every layer.
        with one_core_each(torch.get_num_threads()) as pool:
            return torch.cat(list(pool.map(forward, parts)))

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            maps: torch.Tensor = self.network(pixels)
            return maps

    def _winograd_pass(self, height_px: int, width_px: int) -> WinogradPass:
        """Return the pass for slices of that size; that of the last size is kept."""
        size_px, kept = (height_px, width_px), self._winograd
        if kept is None or kept.size_px != size_px:
            steps = kept.steps if kept else winograd_layers(self.network.layers())
            kept = self._winograd = WinogradPass(steps, size_px, self.network.to_input)
        return kept

    def _micro_batch(self, height_px: int, width_px: int) -> int:
        """Return how many slices pass at once.

        It depends on their size and the precision alone, never on how many there are, so that a
        scan's features cannot depend on what else was in a batch.
        """
        if self.device == "cuda":
            return 32
        itemsize = FLOAT_PRECISIONS[self.precision].itemsize
        largest = self._activations_per_pixel * height_px * width_px
        return max(1, min(8, _ACTIVATION_BYTES // (largest * itemsize)))

    def digest(self) -> str:
        """Return a SHA-256 of parameters and buffers as they are now; it never changes."""
        import hashlib

        sha = hashlib.sha256()
        for values in self.network.state_dict().values():
            sha.update(values.float().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()


def _copied_to_gpu(parts: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield parts on the GPU; each is copied while the one before it is computed."""
    compute, copy = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    for part in parts:
        with torch.cuda.stream(copy):
            copied = part.pin_memory().to("cuda", non_blocking=True)
        compute.wait_stream(copy)
        # The memory must not be given away on the stream of copies while it is computed with.
        copied.record_stream(compute)
        yield copied


def load_trunk(
    spec: TrunkSpec,
    *,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    weights_path: Path | None = None,
    cache: Path | None = None,
) -> Trunk:
    """Build a trunk and load its weights.

    Parameters
    ----------
    spec : TrunkSpec
    precision : {"auto", "fp32", "bf16"}
        `auto`: bf16 where the device computes it natively, else fp32.
    device : {"auto", "cpu", "cuda"}
        `auto`: CUDA if there is one.
    weights_path : Path, optional
        A file to read the weights from instead of searching.
    cache : Path, optional
        Folder of the converted copy of the weights.

    Raises
    ------
    ConfigurationError
        If the name is unknown, or CUDA is asked for and absent.
    WeightsError
        If no source has the weights.
    """
    chosen_device, entry = resolve_device(device), TRUNKS[spec.name]
    if spec.weights == "random":
        weights = entry.random_weights(spec.seed)
    else:
        weights = entry.find_weights(path=weights_path, cache=cache, digest=spec.digest)
    chosen = native_precision(chosen_device) if precision == "auto" else precision
    return Trunk(spec, weights, precision=chosen, device=chosen_device)
