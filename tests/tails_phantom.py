"""A small trunk with normalisation, made-up scans in front of its tail, and their labels."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from mri_transfer.core.tensorfile import write_tensors
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.tails.tail import TailSource
from mri_transfer.models.trunks import INPUT, InputScaling, TrunkNetwork
from mri_transfer.training.dataset import LabelledFeatures

__all__ = [
    "FAST",
    "N_SLICES",
    "fast",
    "labelled_cohort",
    "opposed_cohorts",
    "renamed",
    "source",
    "stages",
]

N_SLICES, _SIZE = 4, 12
_SCALING = InputScaling(mean=(127.0,) * 3, deviation=(128.0,) * 3, words="minus 127, over 128")

FAST = TuningSpec(
    strategy="some",
    epochs=3,
    batch_scans=4,
    slices_per_scan=2,
    learning_rate=0.01,
    head_learning_rate=0.1,
)


def fast(**settings: object) -> TuningSpec:
    """Return settings that train quickly."""
    return dataclasses.replace(FAST, **settings)


def stages(*, normalised: bool = True) -> torch.nn.Sequential:
    """Return three filled stages: stem, middle, deep."""
    generator = torch.Generator().manual_seed(3)

    def stage(given: int, made: int) -> torch.nn.Sequential:
        layers: list[torch.nn.Module] = [torch.nn.Conv2d(given, made, 3, padding=1)]
        if normalised:
            layers.append(torch.nn.BatchNorm2d(made))
        return torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.MaxPool2d(2))

    parts = {"stem": stage(3, 4), "middle": stage(4, 6), "deep": stage(6, 8)}
    network = torch.nn.Sequential(OrderedDict(parts))
    for name, values in network.state_dict().items():
        if values.ndim == 4:
            drawn = torch.randn(values.shape, generator=generator)
            values.copy_(drawn * (2 / values[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            values.copy_(torch.rand(values.shape, generator=generator) + 0.2)
        elif name.endswith("0.bias"):
            values.copy_(torch.randn(values.shape, generator=generator) * 0.1)
    return network


def source(cut: str = "middle", *, normalised: bool = True) -> TailSource:
    """Return what tails of the small trunk start from."""
    whole = stages(normalised=normalised)
    names = [name for name, _ in whole.named_children()]
    behind = whole if cut == INPUT else whole[names.index(cut) + 1 :]
    return TailSource(
        network=TrunkNetwork(behind, _SCALING, cut=INPUT).eval(),
        precision="fp32",
        device="cpu",
        cut=cut,
        weights_digest="0" * 64,
    )


def labelled_cohort(
    folder: Path,
    *,
    n_patients: int = 16,
    cut: str = "middle",
    signal: float = 80.0,
    own_pattern: float = 0.0,
    two_sessions: int = 2,
    seed: int = 0,
) -> LabelledFeatures:
    """Make scans whose positive patients have brighter stripes, and write what lies at the cut.

    With an own pattern every patient can be told from all others, in each slice.
    """
    rng = np.random.default_rng(seed)
    owners = [*range(n_patients), *range(two_sessions)]
    patterns = np.random.default_rng([seed, 1]).normal(0, 1, (n_patients, _SIZE, _SIZE))
    stripes = signal * (np.arange(_SIZE) % 4 < 2)
    network = TrunkNetwork(stages(), _SCALING, cut=cut).eval()
    files, features = [], []
    for number, owner in enumerate(owners):
        pixels = rng.normal(90, 25, (N_SLICES, _SIZE, _SIZE)) + (owner % 2) * stripes
        pixels += own_pattern * patterns[owner]
        grey = torch.from_numpy(pixels.clip(0, 255).astype(np.uint8))
        with torch.inference_mode():
            kept = grey if cut == INPUT else network.prefix(network.to_input(grey))
            features.append(network(grey).amax((2, 3)).numpy())
        files.append(folder / f"{number:03d}.safetensors")
        write_tensors(files[-1], {"maps": kept.contiguous().numpy()}, schema="test")
    names = tuple(f"p{owner:03d}" for owner in owners)
    table = FeatureTable(
        scan_ids=tuple(f"{name}_scan{i}" for i, name in enumerate(names)),
        patient_ids=names,
        scan_sha256=tuple(f"{i:064x}" for i in range(len(names))),
        features=np.stack(features),
        z_mm=np.zeros((len(names), N_SLICES), dtype=np.float32),
    )
    return LabelledFeatures(
        tables={"max": table},
        labels={name: "AD" if int(name[1:]) % 2 else "CN" for name in names},
        positive="AD",
        activations=ActivationTable(files=tuple(files), array="maps"),
    )


def renamed(data: LabelledFeatures) -> LabelledFeatures:
    """Return the patients under other names, as those of another cohort."""
    table = dataclasses.replace(
        data.scans,
        patient_ids=tuple(f"new{name}" for name in data.scans.patient_ids),
        scan_ids=tuple(f"new{name}" for name in data.scans.scan_ids),
    )
    labels = {f"new{name}": label for name, label in data.labels.items()}
    return dataclasses.replace(data, tables={"max": table}, labels=labels)


def opposed_cohorts(folder: Path) -> tuple[LabelledFeatures, LabelledFeatures]:
    """Return an old cohort, and a new one whose labels are the other way round.

    What is learned from the new one harms in the old one.
    """
    old = labelled_cohort(folder / "old", n_patients=12)
    new = labelled_cohort(folder / "new", n_patients=12, seed=1)
    turned = {name: "CN" if label == "AD" else "AD" for name, label in new.labels.items()}
    return old, renamed(dataclasses.replace(new, labels=turned))
