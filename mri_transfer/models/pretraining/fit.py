"""An autoencoder trained on unlabelled slices: it restores slices of which squares are black.

The encoder becomes a trunk, the decoder is dropped. One thread trains, whatever the machine has,
so that the bytes depend on the scans, the settings and the seed alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mri_transfer.core.tensorfile import write_tensors
from mri_transfer.core.threads import at_most_threads
from mri_transfer.errors import FoldError, WeightsError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.pretraining.document import PretrainingEpoch
from mri_transfer.models.pretraining.spec import PretrainingSpec
from mri_transfer.models.trunks import INPUT, TRUNKS, TrunkNetwork
from mri_transfer.models.trunks.autoencoder import ENCODER_CHANNELS
from mri_transfer.models.trunks.library_weights import WEIGHTS_SCHEMA, numbers_digest
from mri_transfer.models.trunks.seen import SeenScans

__all__ = ["AUTOENCODER_NAME", "Pretrained", "UnlabelledSlices", "pretrain"]

#: As the registry of trunks calls it.
AUTOENCODER_NAME = "autoencoder"

Tensors = dict[str, npt.NDArray[np.float32]]
IntArray = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class UnlabelledSlices:
    """Slices of some scans, and whose they are.

    Attributes
    ----------
    pixels : ActivationTable
        Of 8-bit slices, (n_slices, size, size) a scan.
    patient_ids : tuple of str, length n_scans
    n_slices : int
        Of every scan.
    """

    pixels: ActivationTable
    patient_ids: tuple[str, ...]
    n_slices: int


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pretrained:
    """What pretraining leaves.

    Attributes
    ----------
    tensors : dict of str to ndarray of float32
        The encoder's weights by their names in a file, in the network's order.
    epochs : tuple of PretrainingEpoch
    kept : int
        The epoch that they are of, from 1 up.
    n_held_out : int
        Patients held out.
    """

    tensors: Tensors
    epochs: tuple[PretrainingEpoch, ...]
    kept: int
    n_held_out: int

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, as `TrunkWeights.digest`."""
        return numbers_digest(self.tensors)

    def write(self, path: Path, seen: SeenScans) -> None:
        """Write the weights with the scans that they have seen, in one file."""
        write_tensors(path, {**self.tensors, **seen.tensors()}, schema=WEIGHTS_SCHEMA)


def pretrain(
    slices: UnlabelledSlices,
    spec: PretrainingSpec,
    *,
    device: Literal["cpu", "cuda"] = "cpu",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Pretrained:
    """Train an autoencoder and keep the encoder of its best epoch.

    Parameters
    ----------
    slices : UnlabelledSlices
    spec : PretrainingSpec
    device : {"cpu", "cuda"}
        On CUDA the last digits may differ from one time to the next.
    progress : callable, optional
        Called with the number of epochs done and the number in all.

    Raises
    ------
    FoldError
        If there are fewer than two patients.
    WeightsError
        If the loss grows beyond all numbers.
    """
    training, held_out = _divided(slices, spec)
    with at_most_threads(1):
        trainer = _Trainer(slices, spec, training, device)
        best, kept, tensors = math.inf, 0, {}
        epochs = []
        for epoch in range(1, spec.epochs + 1):
            loss = trainer.run_epoch()
            watched = trainer.loss_of(held_out)
            if not math.isfinite(loss + watched):
                raise WeightsError(
                    "pretraining diverged",
                    where=f"epoch {epoch}",
                    found=f"loss {loss}, held out {watched}",
                    remedy="Lower the learning rate",
                )
            epochs.append(PretrainingEpoch(training=loss, held_out=watched))
            if watched < best:
                best, kept, tensors = watched, epoch, trainer.encoder_tensors()
            progress(epoch, spec.epochs)
    n_held_out = len({slices.patient_ids[scan] for scan in held_out.tolist()})
    return Pretrained(tensors=tensors, epochs=tuple(epochs), kept=kept, n_held_out=n_held_out)


def _divided(slices: UnlabelledSlices, spec: PretrainingSpec) -> tuple[IntArray, IntArray]:
    """Return the scans to train on and those of the patients held out."""
    names = sorted(set(slices.patient_ids))
    if len(names) < 2:
        raise FoldError(
            "pretraining needs two patients: one is held out",
            found=str(len(names)),
            remedy="Add scans of other patients to the manifest",
        )
    n = min(max(1, round(spec.held_out * len(names))), len(names) - 1)
    drawn = set(np.random.default_rng([spec.seed, 1]).permutation(names)[:n].tolist())
    out = np.array([name in drawn for name in slices.patient_ids])
    return np.flatnonzero(~out), np.flatnonzero(out)


def _decoder(seed: int) -> nn.Sequential:
    """Return stages that double rows and columns as often as the encoder halves them."""
    # What torch draws for new layers is drawn again below, and its state is left as it was.
    with torch.random.fork_rng(devices=[]):
        decoder = _decoder_layers()
    generator = torch.Generator().manual_seed(seed)
    for parameter in decoder.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, generator=generator)
    last = decoder[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return decoder


def _decoder_layers() -> nn.Sequential:
    stages: list[nn.Module] = []
    channels = ENCODER_CHANNELS[::-1]
    for before, after in zip(channels, (*channels[1:], channels[-1]), strict=True):
        stages += [
            nn.ConvTranspose2d(before, after, 2, stride=2, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*stages, nn.Conv2d(channels[-1], 1, 1))


class _Trainer:
    """Encoder, decoder and their optimisation."""

    def __init__(
        self,
        slices: UnlabelledSlices,
        spec: PretrainingSpec,
        training: IntArray,
        device: Literal["cpu", "cuda"],
    ) -> None:
        self.slices, self.spec, self.training, self.device = slices, spec, training, device
        self.entry = TRUNKS[AUTOENCODER_NAME]
        self.names = tuple(self.entry.random_weights(spec.seed).tensors)
        self.rng = np.random.default_rng([spec.seed, 2])
        stages = self.entry.architecture()
        self.entry.fill(stages, self.entry.random_weights(spec.seed))
        (scaling,) = self.entry.scalings.values()
        self.encoder = TrunkNetwork(stages, scaling, cut=INPUT).to(device)
        self.decoder = _decoder(spec.seed).to(device)
        self.parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.parameters, lr=spec.learning_rate, weight_decay=spec.weight_decay
        )
        n_steps = -(-len(training) * slices.n_slices // spec.batch_slices)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimiser, spec.epochs * n_steps
        )

    def run_epoch(self) -> float:
        """Pass once over all training slices in a new order; return the mean loss."""
        self.encoder.train()
        self.decoder.train()
        order = self.rng.permutation(len(self.training) * self.slices.n_slices)
        losses = []
        for pixels in self._batches(self.training, order):
            mirrored = torch.from_numpy(self.rng.random(len(pixels)) < 0.5)
            given = torch.where(mirrored[:, None, None], pixels.flip(2), pixels)
            loss = self._loss(given, self.rng)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            losses.append((float(loss.detach()), len(pixels)))
        return _mean(losses)

    def loss_of(self, scans: IntArray) -> float:
        """Return the mean loss of all slices of some scans; the same squares every time."""
        self.encoder.eval()
        self.decoder.eval()
        rng = np.random.default_rng([self.spec.seed, 3])
        order = np.arange(len(scans) * self.slices.n_slices)
        with torch.no_grad():
            return _mean(
                [
                    (float(self._loss(pixels, rng)), len(pixels))
                    for pixels in self._batches(scans, order)
                ]
            )

    def _batches(self, scans: IntArray, order: IntArray) -> Iterator[torch.Tensor]:
        """Yield slices (n, size, size) by their places among all slices of some scans."""
        n, size = self.slices.n_slices, self.spec.batch_slices
        for start in range(0, len(order), size):
            places = np.sort(order[start : start + size])
            found = [
                self.slices.pixels.read(int(scans[scan]), places[places // n == scan] % n)
                for scan in np.unique(places // n)
            ]
            yield torch.cat(found)

    def _loss(self, pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        masked = torch.where(self._squares(pixels, rng), 0, pixels).to(self.device)
        whole = pixels.to(self.device).float() / 255.0
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            restored = self.decoder(self.encoder(masked))
        height, width = pixels.shape[1:]
        # A slice whose edge no power of two divides comes back a little larger.
        return nn.functional.mse_loss(restored[:, 0, :height, :width], whole)

    def _squares(self, pixels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Return which pixels are blackened, shape (n, height, width)."""
        n, height, width = pixels.shape
        edge = self.spec.square_px
        drawn = rng.random((n, -(-height // edge), -(-width // edge))) < self.spec.masked
        grown = drawn.repeat(edge, axis=1).repeat(edge, axis=2)
        return torch.from_numpy(grown[:, :height, :width].copy())

    def encoder_tensors(self) -> Tensors:
        """Return a copy of the encoder's weights and moments by their names in a file."""
        state = self.encoder.tail.state_dict()
        kept = [values for name, values in state.items() if values.is_floating_point()]
        return {
            name: values.detach().cpu().numpy().copy()
            for name, values in zip(self.names, kept, strict=True)
        }


def _mean(losses: Sequence[tuple[float, int]]) -> float:
    total = sum(n for _, n in losses)
    return sum(loss * n for loss, n in losses) / total
