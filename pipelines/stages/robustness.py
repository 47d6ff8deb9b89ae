"""Features of perturbed scans, for a sample of patients, into the cache.

Where folds have tails, a scan passes through those of the folds that held its patient out.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from mri_transfer.core.machine import raise_machine_fault
from mri_transfer.errors import ScanError
from mri_transfer.evaluation.audit.robustness import sample_patients
from mri_transfer.explain.cohort_maps import own_heads
from mri_transfer.models.features import (
    FeatureSpec,
    FeatureStore,
    FeatureTable,
    ScanFeatures,
    encode_poolings,
    resolve_features,
)
from mri_transfer.models.tails.tuned_features import TailTrunks, tuned_key
from mri_transfer.scans.perturbations import (
    Perturbation,
    cut_perturbed,
    default_perturbations,
    perturbation_seed,
    perturbed_key,
)
from mri_transfer.scans.slices import SliceStack, slices_key
from mri_transfer.scans.volumes import Volume
from mri_transfer.training.fitted_model import FittedModel
from pipelines.elsewhere import elsewhere
from pipelines.indexes import load_prepared, read_prepared_index
from pipelines.stage import Context
from pipelines.stages.features import keys_by_pooling, open_trunk
from pipelines.stages.fold_trunks import open_fold_trunks
from pipelines.stages.folds import read_folds
from pipelines.stages.train import read_trained

__all__ = ["perturbed_tables"]

Scan = dict[str, str]
Encode = Callable[[SliceStack, Iterable[str]], dict[str, ScanFeatures]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Pass:
    """One perturbed scan, and the keys of its features by what models read."""

    scan: Scan
    perturbation: Perturbation
    seed: int
    keys: dict[str, str]


def perturbed_tables(
    context: Context,
    clean: Mapping[str, FeatureTable],
    *,
    n_patients: int,
    perturbations: Sequence[Perturbation] | None = None,
    trunks: TailTrunks | None = None,
    trained: Sequence[FittedModel] = (),
) -> dict[Perturbation, dict[str, FeatureTable]]:
    """Perturb the prepared scans of a sample of patients, and pass them through the trunk.

    What the cache holds is not computed again, so that a killed run goes on where it stopped. How
    many passes are needed is said first, and how long they will take after the first scan's.

    Parameters
    ----------
    context : Context
        Of a run whose features and folds are there.
    clean : mapping of str to FeatureTable
        The run's own features by the frozen trunk, by pooling
        (`pipelines.stages.features.read_feature_tables`).
    n_patients : int
        Size of the sample, stratified by label.
    perturbations : sequence of Perturbation, optional
        Instead of `default_perturbations`.
    trunks : TailTrunks, optional
        Where tails were trained.
    trained : sequence of FittedModel
        The models of every outer fold; needed with `trunks`.

    Returns
    -------
    dict of Perturbation to dict of str to FeatureTable
        By what models read (`FittedModel.reads`). A scan that a perturbation leaves too few slices
        of is noted and missing from its tables; of a tail they hold the patients who were held out.
    """
    workspace, seed = context.workspace, context.config.seed
    wanted = default_perturbations() if perturbations is None else perturbations
    folds = read_folds(workspace, context.config)
    patients = sample_patients(folds, n=n_patients, seed=seed)
    scans = [scan for scan in read_prepared_index(workspace) if scan["patient_id"] in patients]
    spec = resolve_features(context.config.features)
    own = own_heads(trained, folds) if trunks else {}
    readers = {
        scan["scan_id"]: [trained[i] for i in own.get(scan["patient_id"], ())] for scan in scans
    }
    passes = [
        _plan(context, scan, perturbation, spec, list(clean), readers[scan["scan_id"]])
        for scan in scans
        for perturbation in wanted
    ]
    store = FeatureStore(workspace.cache)
    todo = [one for one in passes if not _is_there(one, store)]
    context.reporter.note(
        f"robustness: {len(patients)} patients, {len(scans)} scans, {len(wanted)} perturbations: "
        f"{len(passes)} passes of the trunk, {len(passes) - len(todo)} of them in the cache, "
        f"{len(todo)} to compute"
    )
    if todo:
        _encode(context, todo, partial(_open_encoder, context, trunks, trained))
    like = {model.reads: clean[model.pooling] for model in trained} if trunks else clean
    return {
        perturbation: {
            name: _table(
                [one for one in passes if one.perturbation == perturbation], name, table, store
            )
            for name, table in like.items()
        }
        for perturbation in wanted
    }


def _plan(
    context: Context,
    scan: Scan,
    perturbation: Perturbation,
    spec: FeatureSpec,
    poolings: Sequence[Any],
    readers: Sequence[FittedModel],
) -> _Pass:
    config, volume_key = context.config, scan["volume_key"]
    volume = perturbed_key(volume_key=volume_key, perturbation=perturbation, seed=config.seed)
    slices = slices_key(volume_key=volume, spec=config.slices)
    keys: dict[str, str] = dict(keys_by_pooling(slices, config.trunk, spec, poolings))
    if readers:
        keys = {model.reads: tuned_key(keys[model.pooling], model.reader.tail) for model in readers}
    return _Pass(
        scan=scan,
        perturbation=perturbation,
        seed=perturbation_seed(volume_key=volume_key, perturbation=perturbation, seed=config.seed),
        keys=keys,
    )


def _is_there(one: _Pass, store: FeatureStore) -> bool:
    return all(key in store for key in one.keys.values())


def _open_encoder(
    context: Context, trunks: TailTrunks | None, trained: Sequence[FittedModel]
) -> Encode:
    """Return what makes features of slices, by the names of what models read."""
    if trunks is None:
        config = context.config
        trunk = open_trunk(context, config.trunk, resolve_features(config.features))
        return lambda stack, names: encode_poolings(stack, trunk, names)
    models = {model.reads: model for model in trained}

    def by_tails(stack: SliceStack, names: Iterable[str]) -> dict[str, ScanFeatures]:
        found = {}
        for name in names:
            reader = models[name].reader
            pooled = encode_poolings(stack, trunks.of(reader.tail), [reader.pooling])
            found[name] = pooled[reader.pooling]
        return found

    return by_tails


def _encode(context: Context, todo: Sequence[_Pass], open_here: Callable[[], Encode]) -> None:
    """Compute what is missing; scan by scan, so that each volume is read once."""
    executor, what = context.executor(gpus=True), "features of perturbed scans"
    if executor.remote:
        # A scan with all its perturbations, so that volume and trunk are read once for them.
        groups = itertools.groupby(todo, key=lambda one: one.scan["scan_id"])
        scans = [tuple(passes) for _, passes in groups]
        told = executor.map(partial(_encode_elsewhere, elsewhere(context)), scans)
        for of_scan in context.reporter.track(told, total=len(scans), what=what):
            for said in of_scan:
                _tell(context, said)
        return
    encoded = executor.map(partial(_encode_batch, context, open_here()), todo)
    left = _timed_start(context, encoded, len(todo))
    for said in context.reporter.track(encoded, total=left, what=what):
        _tell(context, said)


def _timed_start(context: Context, encoded: Iterator[str], n: int) -> int:
    """Do two passes and say how long the others will take; return how many these are."""
    # The first pass also loads libraries and warms up.
    _tell(context, next(encoded))
    started = time.perf_counter()
    _tell(context, next(encoded, ""))
    seconds = time.perf_counter() - started
    left = max(0, n - 2)
    context.reporter.note(
        f"about {seconds:.1f} s a pass on the first scan, {seconds * left / 60:.0f} min in all"
    )
    return left


def _tell(context: Context, said: str) -> None:
    if said:
        context.reporter.note(said)


def _encode_elsewhere(
    context: Context, scans: Sequence[tuple[_Pass, ...]], cores: int | None
) -> Iterator[list[str]]:
    """Open the run on another machine, and do there what `_encode_batch` does, scan by scan."""
    trunks = open_fold_trunks(context)
    folds = read_folds(context.workspace, context.config)
    trained = [] if trunks is None else read_trained(context.workspace, context.config, folds)
    encode = _open_encoder(context, trunks, trained)
    for passes in scans:
        yield list(_encode_batch(context, encode, passes, cores))


def _encode_batch(
    context: Context, encode: Encode, passes: Sequence[_Pass], cores: int | None
) -> Iterator[str]:
    """Put features of perturbed scans into the cache; yield why one was left out, or nothing."""
    del cores  # torch's threads are limited already
    config, store = context.config, FeatureStore(context.workspace.cache)
    scans = {one.scan["scan_id"]: one.scan for one in passes}

    @functools.lru_cache(maxsize=1)
    def read(scan_id: str) -> Volume:
        return load_prepared(scans[scan_id], config.volumes)

    for one in passes:
        # A batch that was interrupted may have done it.
        if _is_there(one, store):
            yield ""
            continue
        volume = read(one.scan["scan_id"])
        try:
            stack = cut_perturbed(volume, one.perturbation, config.slices, seed=one.seed)
        except ScanError as error:
            raise_machine_fault(error)
            yield f"left out under {one.perturbation.name}: {error}"
            continue
        for name, features in encode(stack, one.keys).items():
            store.put(one.keys[name], features)
        yield ""


def _table(
    passes: Sequence[_Pass], name: str, like: FeatureTable, store: FeatureStore
) -> FeatureTable:
    there = [one for one in passes if name in one.keys and one.keys[name] in store]
    if not there:
        # Slicing keeps the shape of slices and features.
        return FeatureTable(
            scan_ids=(),
            patient_ids=(),
            scan_sha256=(),
            features=like.features[:0],
            z_mm=like.z_mm[:0],
        )
    return FeatureTable.collect(
        (store.get(one.keys[name], scan_id=one.scan["scan_id"]) for one in there),
        [one.scan["patient_id"] for one in there],
        [one.scan["scan_sha256"] for one in there],
    )
