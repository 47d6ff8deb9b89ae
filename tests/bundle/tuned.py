"""A small bundle with a trained tail: pictures of made-up patients, an untrained trunk."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mri_transfer.bundle import ModelBundle, make_bundle
from mri_transfer.core.tensorfile import write_tensors
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureTable, encode_poolings
from mri_transfer.models.tails.spec import TuningSpec, cut_of, source_trunk
from mri_transfer.models.tails.tail import TailSource
from mri_transfer.models.tails.tuned_trunk import load_tuned_trunk
from mri_transfer.models.trunks import INPUT, load_trunk
from mri_transfer.scans.slices import SliceStack
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import BootstrapSpec, Refit, bootstrap_heads, refit_on_all
from mri_transfer.training.tuning import TailPlan
from tests.bundle.bundles import N_SLICES, RECIPE, some_trunk, summary_of

__all__ = [
    "pictures",
    "plan",
    "refitted",
    "scan_of",
    "tuned_bundle",
    "tuned_cohort",
    "tuned_recipe",
]

_SIZE = RECIPE.slices.size_px


def tuned_recipe(**settings: Any) -> ModelConfig:
    """Return the recipe with stages that are trained; quickly, and for one epoch at least."""
    quick: dict[str, Any] = {
        "strategy": "some",
        "epochs": 2,
        "batch_scans": 4,
        "slices_per_scan": 2,
        "patience": 0,
    }
    return dataclasses.replace(RECIPE, tuning=TuningSpec(**{**quick, **settings}))


def pictures(n: int, *, seed: int = 0) -> np.ndarray:
    """Draw the slices of patients; those of odd ones have brighter stripes."""
    rng = np.random.default_rng(seed)
    stripes = 70.0 * (np.arange(_SIZE) % 4 < 2)
    pixels = rng.normal(90, 25, (n, N_SLICES, _SIZE, _SIZE))
    pixels += (np.arange(n) % 2)[:, None, None, None] * stripes
    return pixels.clip(0, 255).astype(np.uint8)


def scan_of(pixels: np.ndarray, name: str = "x") -> SliceStack:
    """Return slices as those of a scan."""
    return SliceStack(scan_id=name, pixels=pixels, z_mm=np.arange(N_SLICES, dtype=np.float32))


def tuned_cohort(
    folder: Path, config: ModelConfig, *, n_patients: int = 12, prefix: str = "", seed: int = 0
) -> LabelledFeatures:
    """Return patients with what lies at the cut of their scans."""
    cut = cut_of(config.trunk, config.tuning)
    at_cut = None
    if cut != INPUT:
        start = source_trunk(config.trunk, config.tuning)
        at_cut = load_trunk(dataclasses.replace(start, layer=cut), precision="fp32", device="cpu")
    names = tuple(f"{prefix}p{i:03d}" for i in range(n_patients))
    pixels, files, features = pictures(n_patients, seed=seed), [], []
    for name, one in zip(names, pixels, strict=True):
        kept = one if at_cut is None else at_cut.forward_slices(torch.from_numpy(one)).numpy()
        files.append(folder / f"{name}.safetensors")
        write_tensors(files[-1], {"maps": np.ascontiguousarray(kept)}, schema="test")
        features.append(encode_poolings(scan_of(one), some_trunk(), ["max"])["max"].features)
    table = FeatureTable(
        scan_ids=names,
        patient_ids=names,
        scan_sha256=tuple(f"{i:063x}{len(prefix)}" for i in range(n_patients)),
        features=np.stack(features),
        z_mm=np.tile(np.arange(N_SLICES, dtype=np.float32), (n_patients, 1)),
    )
    return LabelledFeatures(
        tables={"max": table},
        labels={name: "AD" if i % 2 else "CN" for i, name in enumerate(names)},
        positive="AD",
        activations=ActivationTable(files=tuple(files), array="maps"),
    )


def plan(config: ModelConfig) -> TailPlan:
    """Return what tails of a recipe start from."""
    whole = load_trunk(source_trunk(config.trunk, config.tuning), precision="fp32", device="cpu")
    return TailPlan(
        spec=config.tuning, source=TailSource.of_trunk(whole, config.tuning, config.features)
    )


def refitted(config: ModelConfig, cohort: LabelledFeatures) -> Refit:
    """Fit tail and head to all patients."""
    return refit_on_all(config, cohort, tail=plan(config))


def tuned_bundle(
    config: ModelConfig, cohort: LabelledFeatures, refit: Refit, **changes: Any
) -> ModelBundle:
    """Pack what `refitted` returned."""
    tail = refit.trained.tail
    assert tail is not None
    bare, read = refit.on_features(cohort)
    spec = BootstrapSpec(n_heads=3)
    return make_bundle(
        config,
        read,
        summary_of(cohort),
        refit=bare,
        bootstrap=bootstrap_heads(config, read, bare, spec=spec),
        bootstrap_spec=spec,
        performance={"from": "A test", "figures": {}, "operating_points": []},
        **{
            "version": "1",
            "trunk": load_tuned_trunk(config.trunk, tail, config.features),
            **changes,
        },
    )
