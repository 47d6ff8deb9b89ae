"""The stages from scans to features and folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mri_transfer.core.specs import spec_dict
from mri_transfer.models.features import FeatureStore, resolve_features
from mri_transfer.models.tails.spec import cut_of
from mri_transfer.scans.slices import SliceStore
from pipelines.config import RunConfig
from pipelines.plan.work import work_of
from pipelines.stage import Stage
from pipelines.workspace import Workspace

__all__ = ["CHECK", "FEATURES", "FOLDS", "PREPARE", "SLICES"]


def _check_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [(workspace.source_manifest, "run --manifest M.csv --out")]


def _check_specs(config: RunConfig) -> dict[str, Any]:
    return config.sections("labels", "volumes")


CHECK = Stage(
    name="check",
    inputs=_check_inputs,
    specs=_check_specs,
    work=work_of("check"),
    reads_scans=True,
    excluded=lambda workspace: workspace.refused,
)


def _prepare_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [
        (workspace.source_manifest, "run --manifest M.csv --out"),
        (workspace.refused, "check"),
    ]


def _prepare_intact(workspace: Workspace) -> bool:
    from mri_transfer.report.figures import PictureStore, picture_key
    from mri_transfer.scans.preparation import PreparedStore
    from mri_transfer.scans.preparation.identity import IdentityStore, identity_key
    from mri_transfer.scans.quality import ScoreStore, score_key
    from pipelines.indexes import read_prepared_index

    cache = workspace.cache
    prepared, scores = PreparedStore(cache), ScoreStore(cache)
    pictures, identities = PictureStore(cache), IdentityStore(cache)
    return all(
        key in prepared
        and score_key(key) in scores
        and picture_key(key) in pictures
        and identity_key(key) in identities
        for key in (row["key"] for row in read_prepared_index(workspace))
    )


def _prepare_specs(config: RunConfig) -> dict[str, Any]:
    return config.sections("volumes", "preparation", "quality", "duplicates", "slices")


PREPARE = Stage(
    name="prepare",
    inputs=_prepare_inputs,
    specs=_prepare_specs,
    work=work_of("prepare"),
    intact=_prepare_intact,
    reads_scans=True,
    after=(CHECK,),
)


def _slices_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [(workspace.prepared, "prepare")]


def _slices_intact(workspace: Workspace) -> bool:
    from pipelines.indexes import read_index

    store = SliceStore(workspace.cache)
    return all(key in store for key in read_index(workspace.slices)["key"])


def _slices_specs(config: RunConfig) -> dict[str, Any]:
    return config.sections("volumes", "slices")


SLICES = Stage(
    name="slices",
    inputs=_slices_inputs,
    specs=_slices_specs,
    work=work_of("slices"),
    intact=_slices_intact,
    caches=lambda _config: ("prepare",),
    after=(PREPARE,),
)


def _features_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [(workspace.slices, "slices")]


def _features_intact(workspace: Workspace) -> bool:
    from pipelines.indexes import read_index

    store = FeatureStore(workspace.cache)
    index = read_index(workspace.features)
    columns = [name for name in index if str(name).startswith("key")]
    if not all(key in store for name in columns for key in index[name]):
        return False
    if "activations" not in index:
        return True
    from mri_transfer.models.activations import ActivationStore

    # In front of the first stage lie the slices, which their own stage looks after.
    kept, lasting = ActivationStore(workspace.cache), set(read_index(workspace.slices)["key"])
    return all(key in lasting or key in kept for key in index["activations"])


def _features_specs(config: RunConfig) -> dict[str, Any]:
    return {
        "trunk": spec_dict(config.trunk),
        "features": spec_dict(resolve_features(config.features)),
        "poolings": list(config.poolings),
        # Not there without a tail, so that the records of frozen trunks stay as they were.
        **({"cut": cut_of(config.trunk, config.tuning)} if config.tuning.trains else {}),
    }


FEATURES = Stage(
    name="features",
    inputs=_features_inputs,
    specs=_features_specs,
    work=work_of("features"),
    intact=_features_intact,
    caches=lambda _config: ("slices",),
    after=(SLICES,),
)


def _folds_inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [(workspace.manifest, "prepare")]


def _folds_specs(config: RunConfig) -> dict[str, Any]:
    return config.sections("labels", "folds")


FOLDS = Stage(
    name="folds",
    inputs=_folds_inputs,
    specs=_folds_specs,
    work=work_of("folds"),
    after=(PREPARE,),
)
