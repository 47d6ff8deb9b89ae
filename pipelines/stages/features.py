"""features: every scan's slices once through the frozen trunk, into the cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.models.activations import ActivationStore, ActivationTable, activation_key
from mri_transfer.models.features import (
    FeatureSpec,
    FeatureStore,
    FeatureTable,
    Pooling,
    feature_key,
    resolve_features,
)
from mri_transfer.models.tails.spec import cut_of
from mri_transfer.models.trunks import INPUT, Trunk, TrunkSpec
from mri_transfer.scans.slices import SliceStore
from pipelines.config import RunConfig
from pipelines.indexes import read_index
from pipelines.stage import Context, StageResult
from pipelines.stages.features_worker import (
    ACTIVATIONS,
    Encoding,
    ScanToEncode,
    activate_batch,
    encode_batch,
    forget_trunk,
    trunk_of,
)
from pipelines.workspace import Workspace

__all__ = [
    "collect_features",
    "encode_missing",
    "key_column",
    "keys_by_pooling",
    "open_trunk",
    "plan_features",
    "read_activations",
    "read_feature_table",
    "read_feature_tables",
    "work",
]


def read_feature_table(workspace: Workspace, *, column: str = "key") -> FeatureTable:
    """Collect the features of a run's scans from the cache.

    Parameters
    ----------
    workspace : Workspace
    column : str
        Column of features.csv that names their keys: `key` for the configured pooling,
        `key_<pooling>` for one that only the search may choose.
    """
    index = read_index(workspace.features)
    return collect_features(workspace, index, index[column].tolist())


def collect_features(workspace: Workspace, index: pd.DataFrame, keys: list[str]) -> FeatureTable:
    """Collect features by their keys, one a row of the index of scans."""
    store = FeatureStore(workspace.cache)
    scans = (
        store.get(key, scan_id=scan_id) for key, scan_id in zip(keys, index["scan_id"], strict=True)
    )
    return FeatureTable.collect(scans, index["patient_id"].tolist(), index["scan_sha256"].tolist())


def read_feature_tables(
    workspace: Workspace, config: RunConfig, *, order_seed: int | None = None
) -> dict[str, FeatureTable]:
    """Collect the features of every pooling that the run may use, by its name.

    Parameters
    ----------
    workspace : Workspace
    config : RunConfig
    order_seed : int, optional
        Draws another order of the scans than that of the run.
    """
    index = read_index(workspace.features)
    if order_seed is not None:
        index = index.sample(frac=1, random_state=order_seed, ignore_index=True)
    return {
        pooling: collect_features(workspace, index, index[key_column(pooling, config)].tolist())
        for pooling in config.poolings
    }


def key_column(pooling: str, config: RunConfig) -> str:
    """Return the column of features.csv with the keys of features of that pooling."""
    return "key" if pooling == config.features.pooling else f"key_{pooling}"


def plan_features(
    workspace: Workspace, trunk_spec: TrunkSpec, spec: FeatureSpec, poolings: Sequence[Pooling]
) -> tuple[pd.DataFrame, list[ScanToEncode]]:
    """Return the index of scans with a column of keys per pooling, and what the cache lacks.

    Parameters
    ----------
    workspace : Workspace
    trunk_spec : TrunkSpec
    spec : FeatureSpec
        Resolved.
    poolings : sequence of str
        Each becomes a column of its name.
    """
    slices = read_index(workspace.slices)
    index = slices[["scan_id", "patient_id", "scan_sha256"]].copy()
    store = FeatureStore(workspace.cache)
    missing: dict[str, ScanToEncode] = {}
    keys = [keys_by_pooling(key, trunk_spec, spec, poolings) for key in slices["key"]]
    for pooling in poolings:
        index[pooling] = [of_scan[pooling] for of_scan in keys]
    for scan_id, slices_key, of_scan in zip(index["scan_id"], slices["key"], keys, strict=True):
        lacking = {pooling: key for pooling, key in of_scan.items() if key not in store}
        if lacking:
            missing.setdefault(
                slices_key, ScanToEncode(scan_id=scan_id, slices_key=slices_key, keys=lacking)
            )
    return index, list(missing.values())


def keys_by_pooling(
    slices_key: str, trunk_spec: TrunkSpec, spec: FeatureSpec, poolings: Iterable[Pooling]
) -> dict[str, str]:
    """Return the key of a scan's features for each way to pool the trunk's maps."""
    return {
        pooling: feature_key(
            slices=slices_key,
            trunk_spec=trunk_spec,
            feature_spec=dataclasses.replace(spec, pooling=pooling),
        )
        for pooling in poolings
    }


def open_trunk(context: Context, trunk_spec: TrunkSpec, spec: FeatureSpec) -> Trunk:
    """Load a trunk as the run computes with it."""
    return _encoding(context, trunk_spec, spec).open()


def encode_missing(
    context: Context,
    trunk_spec: TrunkSpec,
    spec: FeatureSpec,
    todo: Sequence[ScanToEncode],
    *,
    what: str = "features",
    maxima: bool = False,
) -> None:
    """Pass the slices of scans through the trunk and put their features into the cache.

    Parameters
    ----------
    context : Context
    trunk_spec : TrunkSpec
    spec : FeatureSpec
        Resolved.
    todo : sequence of ScanToEncode
    what : str
        What the progress is of.
    maxima : bool
        Whether to keep where max-pooled features have their largest values, for explanations.
    """
    if not todo:
        return
    encoding = _encoding(context, trunk_spec, spec, maxima=maxima)
    executor = context.executor(gpus=True)
    if executor.remote:
        context.reporter.note(
            f"trunk {trunk_spec.name}, {spec.precision} on {spec.device} of other machines"
        )
    else:
        trunk = trunk_of(encoding)
        context.reporter.note(
            f"trunk {trunk_spec.name}, weights {trunk.weights_digest[:12]} "
            f"({trunk.weights_source}), {spec.precision} on {spec.device}"
        )
    if trunk_spec.weights == "random":
        context.reporter.note("THE TRUNK IS UNTRAINED (trunk.weights = random): a control")
    _pass(context, partial(encode_batch, encoding), todo, what=what)


def _pass(
    context: Context,
    batch: Callable[[Sequence[ScanToEncode], int | None], Iterable[None]],
    todo: Sequence[ScanToEncode],
    *,
    what: str,
) -> None:
    """Process scans, showing the progress."""
    try:
        passed = context.executor(gpus=True).map(batch, todo)
        for _ in context.reporter.track(passed, total=len(todo), what=what):
            pass
    finally:
        forget_trunk()


def _encoding(
    context: Context, trunk_spec: TrunkSpec, spec: FeatureSpec, *, maxima: bool = False
) -> Encoding:
    workspace = context.workspace
    return Encoding(
        cache=workspace.cache.absolute(),
        trunk=trunk_spec,
        features=spec,
        weights=None if context.weights is None else context.weights.absolute(),
        weights_cache=workspace.weights.absolute(),
        maxima=maxima,
    )


def _cut(config: RunConfig) -> str:
    return cut_of(config.trunk, config.tuning)


def _activation_keys(context: Context, spec: FeatureSpec) -> list[str]:
    """Put what lies at the cut into the cache; return each scan's key.

    In front of the first stage these are the slices themselves, which are there already.
    """
    workspace, config = context.workspace, context.config
    slices = read_index(workspace.slices)
    if _cut(config) == INPUT:
        return slices["key"].tolist()
    at_cut = dataclasses.replace(config.trunk, layer=_cut(config))
    keys = [
        activation_key(slices=key, trunk_spec=at_cut, feature_spec=spec) for key in slices["key"]
    ]
    store = ActivationStore(workspace.cache)
    todo = {
        key: ScanToEncode(scan_id=scan_id, slices_key=slices_key, keys={ACTIVATIONS: key})
        for scan_id, slices_key, key in zip(slices["scan_id"], slices["key"], keys, strict=True)
        if key not in store
    }
    if todo:
        batch = partial(activate_batch, _encoding(context, at_cut, spec))
        _pass(context, batch, list(todo.values()), what=f"activations at {_cut(config)}")
    return keys


def read_activations(
    workspace: Workspace, config: RunConfig, scan_ids: Sequence[str]
) -> ActivationTable | None:
    """Return where the activations of scans lie; None if the run trains no tail."""
    if not config.tuning.trains:
        return None
    index = read_index(workspace.features)
    key_of = dict(zip(index["scan_id"], index[ACTIVATIONS], strict=True))
    from_input = _cut(config) == INPUT
    store = SliceStore(workspace.cache) if from_input else ActivationStore(workspace.cache)
    return ActivationTable(
        files=tuple(store.path(key_of[scan_id]) for scan_id in scan_ids),
        array="pixels" if from_input else ActivationStore.array,
    )


def work(context: Context) -> StageResult:
    """Run the stage."""
    workspace, config = context.workspace, context.config
    spec = resolve_features(config.features)
    poolings = config.poolings
    index, todo = plan_features(workspace, config.trunk, spec, poolings)
    encode_missing(context, config.trunk, spec, todo, maxima=True)
    table = index.rename(columns={name: key_column(name, config) for name in poolings})
    if config.tuning.trains:
        table[ACTIVATIONS] = _activation_keys(context, spec)
    atomic_write_text(workspace.features, table.to_csv(index=False, lineterminator="\n"))
    return StageResult(
        outputs=[workspace.features],
        summary=f"features of {len(table)} scans: {len(todo)} computed, "
        f"{len(table) - len(todo)} from the cache",
        computed=len(todo),
    )
