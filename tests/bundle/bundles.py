"""A small bundle made of made-up features, with an untrained trunk: nothing has to be found."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.bundle import ModelBundle, TrainingScan, TrainingSummary, make_bundle
from mri_transfer.bundle.measures import MEASURES
from mri_transfer.evaluation.ventricular_norm import VentricularNorm, normative_people
from mri_transfer.models.features import FeatureSpec
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.models.trunks import Trunk, TrunkSpec, load_trunk
from mri_transfer.scans.slices import SliceSpec
from mri_transfer.scans.volumetry import VOLUME_NAMES, BrainVolumes
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import BootstrapSpec, bootstrap_heads, refit_on_all
from mri_transfer.training.search import SearchSpec
from mri_transfer.training.settings import FoldSpec
from tests.synthetic import feature_table

COMBAT = HarmonisationSpec(kind="combat", preserve=())
N_SLICES = 4
#: Channels of the trunk's third block.
N_FEATURES = 256

RECIPE = ModelConfig(
    slices=SliceSpec(n_slices=N_SLICES, size_px=32),
    trunk=TrunkSpec(weights="random", layer="block3_pool"),
    features=FeatureSpec(precision="fp32", device="cpu"),
    folds=FoldSpec(n_folds=3, n_repeats=1, n_inner_folds=3),
    heads=LinearHeadSpec(inverse_l2=(1.0,), zones=2),
    search=SearchSpec(space="none"),
)
HARMONISED = dataclasses.replace(RECIPE, harmonisation=COMBAT)


def made_up_cohort(
    *, n_patients: int = 24, seed: int = 0, prefix: str = "", sites: bool = False, **signal: Any
) -> LabelledFeatures:
    """Grow a cohort; patients are named p000 and so on, behind a prefix."""
    table, labels = feature_table(
        n_patients=n_patients, n_slices=N_SLICES, n_features=N_FEATURES, seed=seed, **signal
    )
    owners = tuple(prefix + name for name in table.patient_ids)
    words = {name: "AD" if label else "CN" for name, label in zip(owners, labels, strict=True)}
    covariates = None
    if sites:
        names = sorted(words)
        covariates = pd.DataFrame(
            {"site": [f"site{i // 2 % 2}" for i in range(len(names))]}, index=names
        )
    table = dataclasses.replace(
        table, patient_ids=owners, scan_ids=tuple(prefix + name for name in table.scan_ids)
    )
    return LabelledFeatures(
        tables={"max": table}, labels=words, positive="AD", covariates=covariates
    )


def summary_of(cohort: LabelledFeatures) -> TrainingSummary:
    """Return what would be known of a cohort's scans."""
    table = cohort.tables["max"]
    return TrainingSummary(
        scans=tuple(training_scan(owner, i) for i, owner in enumerate(table.patient_ids)),
        ages={name: 60.0 + i for i, name in enumerate(cohort.patient_ids)},
        scan_digests=frozenset(cohort.tables["max"].scan_sha256),
        synthetic=True,
    )


def made_up_norm() -> VentricularNorm:
    """Return what is known of the ventricles of 24 people, 60 to 83 years old."""
    names, rng = [f"p{i:02d}" for i in range(24)], np.random.default_rng(0)
    shares = rng.normal(0.05, 0.005, (24, len(VOLUME_NAMES)))
    volumes = [BrainVolumes(shares=row, intracranial_ml=600.0) for row in shares]
    known = {"age": np.arange(60.0, 84.0), "sex": ["F", "M"] * 12}
    people = normative_people(volumes, names, pd.DataFrame(known, index=names))
    norm = None if people is None else VentricularNorm.learn(people)
    assert norm is not None
    return norm


def training_scan(patient_id: str, number: int = 0, **changes: Any) -> TrainingScan:
    """Return what would be known of one scan; they differ a little."""
    measures = {
        measure.name: 100.0 + number % 5 for measure in MEASURES if measure.name != "grey_distance"
    }
    known: dict[str, Any] = {"passed_through": True, "turn": "", "measures": measures, **changes}
    return TrainingScan(patient_id=patient_id, **known)


def made_up_bundle(
    cohort: LabelledFeatures | None = None, config: ModelConfig = RECIPE, **changes: Any
) -> ModelBundle:
    """Fit and pack a cohort."""
    cohort = cohort or made_up_cohort()
    refit = refit_on_all(config, cohort)
    spec = BootstrapSpec(n_heads=3)
    figure: Mapping[str, Any] = {
        "value": 0.8,
        "ci_low": 0.7,
        "ci_high": 0.9,
        "n": 24,
        "method": "t",
    }
    return make_bundle(
        config,
        cohort,
        summary_of(cohort),
        trunk=some_trunk(config.trunk),
        refit=refit,
        bootstrap=bootstrap_heads(config, cohort, refit, spec=spec),
        bootstrap_spec=spec,
        performance={"from": "A test", "figures": {"auc": figure}, "operating_points": []},
        **{"version": "1", **changes},
    )


@functools.cache
def some_trunk(spec: TrunkSpec = RECIPE.trunk) -> Trunk:
    """The untrained trunk of a configuration."""
    return load_trunk(spec, precision="fp32", device="cpu")


@functools.cache
def some_bundle() -> ModelBundle:
    """One bundle for tests that change nothing in it."""
    return made_up_bundle()


def some_features(n: int = 5, *, seed: int = 3) -> Any:
    """Features of scans that no bundle has seen."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, N_SLICES, N_FEATURES)).astype(np.float32)
