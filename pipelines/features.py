"""features: every scan's slices once through the frozen trunk, into the cache."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from mri_transfer.features import (
    FeatureStore,
    FeatureTable,
    encode,
    feature_key,
    resolve_features,
)
from mri_transfer.files import atomic_write_text
from mri_transfer.slices import SliceStack, SliceStore
from mri_transfer.specs import spec_dict
from mri_transfer.trunks import load_trunk
from pipelines.config import RunConfig
from pipelines.stage import Context, Stage, StageResult
from pipelines.workspace import Workspace

__all__ = ["FEATURES", "read_feature_table"]

#: Stacks read ahead of the trunk, so that loading overlaps computing and memory stays bounded.
_READ_AHEAD = 2


def read_feature_table(workspace: Workspace) -> FeatureTable:
    """Collect the features of a run's scans from the cache."""
    index = pd.read_csv(workspace.features, dtype=str)
    store = FeatureStore(workspace.cache)
    scans = (store.get(row["key"], scan_id=row["scan_id"]) for row in index.to_dict("records"))
    return FeatureTable.collect(scans, index["patient_id"].tolist())


def _inputs(workspace: Workspace) -> list[tuple[Path, str]]:
    return [(workspace.slices, "slices")]


def _read_ahead(
    store: SliceStore, todo: list[tuple[str, str, str]], pool: ThreadPoolExecutor
) -> Iterator[tuple[str, SliceStack]]:
    """Yield each feature key with its slices, the next ones being read meanwhile."""

    def submit(i: int) -> Future[SliceStack]:
        scan_id, slices_key, _ = todo[i]
        return pool.submit(store.get, slices_key, scan_id=scan_id)

    pending = [submit(i) for i in range(min(_READ_AHEAD, len(todo)))]
    for i, (_, _, key) in enumerate(todo):
        stack = pending.pop(0).result()
        if i + _READ_AHEAD < len(todo):
            pending.append(submit(i + _READ_AHEAD))
        yield key, stack


def _encode_missing(context: Context, todo: list[tuple[str, str, str]]) -> None:
    config = context.config
    spec = resolve_features(config.features)
    trunk = load_trunk(
        config.trunk,
        precision=spec.precision,
        device=spec.device,
        weights_path=context.weights,
        cache=context.workspace.weights,
    )
    context.reporter.note(
        f"trunk {config.trunk.name}, weights {trunk.weights_digest[:12]} "
        f"({trunk.weights_source}), {spec.precision} on {spec.device}"
    )
    if trunk.weights_source == "random":
        context.reporter.note("THE TRUNK IS UNTRAINED (trunk.weights = random): a control")
    slices = SliceStore(context.workspace.cache)
    features = FeatureStore(context.workspace.cache)
    with ThreadPoolExecutor(max_workers=1) as reader, ThreadPoolExecutor(max_workers=1) as writer:
        written: Future[None] | None = None
        stacks = _read_ahead(slices, todo, reader)
        for key, stack in context.reporter.track(stacks, total=len(todo), what="features"):
            encoded = encode(stack, trunk, spec)
            if written is not None:
                written.result()
            written = writer.submit(features.put, key, encoded)
        if written is not None:
            written.result()


def _work(context: Context) -> StageResult:
    workspace, config = context.workspace, context.config
    index = pd.read_csv(workspace.slices, dtype=str)
    spec = resolve_features(config.features)
    store = FeatureStore(workspace.cache)
    todo: dict[str, tuple[str, str, str]] = {}
    keys = []
    for row in index.to_dict("records"):
        key = feature_key(slices=row["key"], trunk_spec=config.trunk, feature_spec=spec)
        keys.append(key)
        if key not in store:
            todo[key] = (row["scan_id"], row["key"], key)
    if todo:
        _encode_missing(context, list(todo.values()))
    table = index[["scan_id", "patient_id", "scan_sha256"]].assign(key=keys)
    atomic_write_text(workspace.features, table.to_csv(index=False, lineterminator="\n"))
    return StageResult(
        outputs=[workspace.features],
        summary=f"features of {len(table)} scans: {len(todo)} computed, "
        f"{len(table) - len(todo)} from the cache",
    )


def _intact(workspace: Workspace) -> bool:
    store = FeatureStore(workspace.cache)
    return all(key in store for key in pd.read_csv(workspace.features, dtype=str)["key"])


def _specs(config: RunConfig) -> dict[str, Any]:
    return {
        "trunk": spec_dict(config.trunk),
        "features": spec_dict(resolve_features(config.features)),
    }


FEATURES = Stage(
    name="features",
    inputs=_inputs,
    specs=_specs,
    work=_work,
    intact=_intact,
)
