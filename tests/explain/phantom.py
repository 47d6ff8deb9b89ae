"""Made-up heads, features and maps, and a trunk small enough to be followed by hand."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import torch

from mri_transfer.models.features import FeatureTable
from mri_transfer.models.harmonisation import HarmonisationSpec, fit_combat
from mri_transfer.models.heads import Head, resolve_aggregation
from mri_transfer.models.trunks import InputScaling, TrunkNetwork
from mri_transfer.training.fitted_model import FittedModel, Harmoniser
from mri_transfer.training.folds import Folds

CHANNELS, SLICES = 6, 5
KINDS = ("linear", "mlp", "attention")


def make_head(kind: str, n_features: int = CHANNELS, *, seed: int = 0) -> Head:
    """Return a head of random weights."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    tensors = {
        "linear": {"weight": draw(2, n_features), "bias": draw(SLICES)},
        "mlp": {
            "kernel": draw(5, n_features), "bias": draw(5), "last": draw(5),
            "last_bias": draw(1),
        },
        "attention": {
            "value": draw(3, n_features), "value_bias": draw(3), "gate": draw(3, n_features),
            "gate_bias": draw(3), "attention": draw(1, 3), "weight": draw(n_features),
            "bias": draw(1), "mean": draw(n_features), "deviation": np.abs(draw(n_features)) + 1,
        },
    }  # fmt: skip
    aggregation = resolve_aggregation("auto", kind)
    facts = {
        "procedure": {"pooling": "max", "head": {"kind": kind}, "aggregation": aggregation},
        "recalibration": {"method": "none", "parameters": {}},
        "threshold": 0.5,
    }
    return Head(kind=kind, tensors=tensors[kind], facts=facts)


def make_trained(kind: str = "linear", *, n_repeats: int = 2, n_folds: int = 2, pooling="max"):
    """Return a head for every fold of every repeat."""
    trained = []
    for repeat, fold in np.ndindex(n_repeats, n_folds):
        head = make_head(kind, seed=10 * repeat + fold)
        head.facts["procedure"]["pooling"] = pooling
        trained.append(FittedModel(repeat=repeat, fold=fold, head=head))
    return trained


def make_harmoniser(table: FeatureTable) -> Harmoniser:
    """Return a ComBat of two sites, fitted on a whole table."""
    names = sorted(set(table.patient_ids))
    covariates = pd.DataFrame(
        {
            "site": ["A", "B"] * (len(names) // 2), "age": np.linspace(60, 80, len(names)),
            "sex": (["F", "F", "M", "M"] * len(names))[: len(names)],
        },
        index=pd.Index(names, name="patient_id"),
    )  # fmt: skip
    known = covariates.loc[list(table.patient_ids)]
    combat = fit_combat(table.features, known, spec=HarmonisationSpec(kind="combat"))
    return Harmoniser(combat=combat, covariates=covariates)


def make_table(n_patients: int = 8, *, seed: int = 3) -> FeatureTable:
    """Return features of patients, of whom the first has two scans."""
    owners = ["p0", *(f"p{i}" for i in range(n_patients))]
    rng = np.random.default_rng(seed)
    return FeatureTable(
        scan_ids=tuple(f"{name}_s{i}" for i, name in enumerate(owners)),
        patient_ids=tuple(owners),
        scan_sha256=tuple("0" for _ in owners),
        features=rng.normal(1, 1, (len(owners), SLICES, CHANNELS)).astype(np.float32),
        z_mm=np.tile(np.arange(SLICES, dtype=np.float32), (len(owners), 1)),
    )


def make_folds(n_patients: int = 8, *, n_repeats: int = 2) -> Folds:
    """Return two folds a repeat; labels take turns."""
    rng = np.random.default_rng(0)
    assignment = np.stack([rng.permutation(n_patients) % 2 for _ in range(n_repeats)])
    return Folds(
        patient_ids=tuple(f"p{i}" for i in range(n_patients)),
        labels=tuple(("AD", "CN")[i % 2] for i in range(n_patients)),
        assignment=assignment,
    )


class TinyTrunk:
    """A convolution of random weights and a pooling; it is all that a trunk needs to be here."""

    device = "cpu"
    precision = "fp32"

    def __init__(self, *, relu: bool = True, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        convolution = torch.nn.Conv2d(3, CHANNELS, 3, padding=1)
        for parameter in convolution.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) / 2
        layers: list[Any] = [convolution]
        layers += [torch.nn.ReLU(inplace=True)] if relu else []
        stage = torch.nn.Sequential(*layers, torch.nn.AvgPool2d(8))
        scaling = InputScaling(mean=(0.0,) * 3, deviation=(255.0,) * 3, words="")
        self.network = TrunkNetwork(torch.nn.Sequential(OrderedDict(only=stage)), scaling)

    def forward_slices(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return maps of whole numbers' slices."""
        with torch.inference_mode():
            return self.network(pixels)


def make_stack(size: int = 32, *, seed: int = 0) -> SimpleNamespace:
    """Return slices with a bright square of tissue in the middle."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((SLICES, size, size), dtype=np.uint8)
    inner = slice(size // 8, -size // 8)
    grey = rng.integers(60, 120, pixels[:, inner, inner].shape)
    # Brighter to the right and upwards, so that no part is as grey as the whole.
    pixels[:, inner, inner] = grey + np.linspace(0, 130, grey.shape[2]).astype(int)
    z_mm = np.arange(SLICES, dtype=np.float32)
    return SimpleNamespace(scan_id="s", pixels=pixels, z_mm=z_mm)
