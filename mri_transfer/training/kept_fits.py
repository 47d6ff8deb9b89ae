"""KeptFits: fits that a killed run had finished, kept in the cache and found again.

A kept fit stands for the one that would be made: its key is made of everything that enters a fit,
the bytes of the view and of what lies at the cut among them, and an entry carries the digest of its
own content (docs/decisions/0013). Nothing of the patients held out is in it.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.core.files import sha256_of_file
from mri_transfer.core.specs import digest, spec_dict
from mri_transfer.core.store import TensorStore
from mri_transfer.models.tails.tail import TailSource
from mri_transfer.models.trunks import resolve_device
from mri_transfer.training.dataset import LabelledFeatures, TrainingView
from mri_transfer.training.engine import place_of, training_view
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.fitted_model import FittedModel
from mri_transfer.training.folds import OuterFold
from mri_transfer.training.one_fit import FitRequest, FitResult, Run, fit_model
from mri_transfer.training.tuning import TailPlan
from mri_transfer.version import __version__

__all__ = ["KeptFits"]

#: Other versions of these may round differently.
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "torch")
_STEM = "fit"
#: Arrays of an entry beside the model's files.
_INNER_FOLDS, _INNER_SCORES = "inner folds", "inner scores"


class FitStore(TensorStore):
    """Fits, addressed by the key of `KeptFits`."""

    kind = "fits"
    schema = "mri-transfer/fit/1"

    def put(self, key: str, result: FitResult) -> None:
        """Store a fit: the files of its model as they are, and its inner scores."""
        with tempfile.TemporaryDirectory() as folder:
            files = result.model.write(Path(folder) / _STEM)
            arrays: dict[str, npt.NDArray[Any]] = {
                file.name: np.frombuffer(file.read_bytes(), dtype=np.uint8) for file in files
            }
        arrays[_INNER_FOLDS], arrays[_INNER_SCORES] = result.inner_folds, result.inner_scores
        self._write(key, arrays)

    def get(self, key: str, view: TrainingView, plan: TailPlan | None) -> FitResult:
        """Read the fit of a view.

        Raises
        ------
        StoreError
            If it is missing, damaged, or belongs to another key.
        """
        arrays = self._read(key)
        inner_folds, inner_scores = arrays.pop(_INNER_FOLDS), arrays.pop(_INNER_SCORES)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in arrays.items():
                (Path(folder) / name).write_bytes(content.tobytes())
            harmonised = any("_combat" in name for name in arrays)
            model = FittedModel.read(
                Path(folder) / _STEM,
                repeat=0,
                fold=0,
                covariates=view.covariates if harmonised else None,
            )
        return FitResult(
            model=model.with_source(plan.source if plan else None),
            patient_ids=view.patient_ids,
            inner_folds=inner_folds,
            inner_scores=inner_scores,
        )


class KeptFits:
    """Fits models and keeps them; what is there already is not fitted again.

    Parameters
    ----------
    cache : Path
        Folder shared by runs.

    Attributes
    ----------
    n_found : int
        Fits that were there.
    """

    def __init__(self, cache: Path) -> None:
        self._store = FitStore(cache)
        self._lock = threading.Lock()
        # Folds share most of their scans.
        self._digest_of = functools.cache(sha256_of_file)
        self.n_found = 0

    def fit(
        self,
        view: TrainingView,
        request: FitRequest,
        *,
        run: Run = map,
        fitted: Callable[[int], None] = lambda _: None,
    ) -> FitResult:
        """Return what `fit_model` makes of the same arguments."""
        key = self.key(view, request)
        if key in self._store:
            with self._lock:
                self.n_found += 1
            fitted(request.n_fits(view.is_positive))
            return self._store.get(key, view, request.tail)
        result = fit_model(view, request, run=run, fitted=fitted)
        self._store.put(key, result)
        return result

    def missing(
        self,
        estimator: TransferClassifier,
        data: LabelledFeatures,
        folds: Iterable[OuterFold],
        *,
        seed: int,
    ) -> dict[tuple[int, int], str]:
        """Return the keys of the fits that are not there, by repeat and fold.

        Parameters
        ----------
        estimator, data, folds, seed
            As in `cross_validate`.
        """
        keys = {}
        for outer in folds:
            view = training_view(data, outer)
            key = self.key(view, estimator.request_of(view, seed=seed, place=place_of(outer)))
            if key not in self._store:
                keys[outer.repeat, outer.fold] = key
        return keys

    def key(self, view: TrainingView, request: FitRequest) -> str:
        """Return the key of a fit, made of everything that enters it."""
        return digest(
            {
                "kind": FitStore.schema,
                "versions": [__version__, *(metadata.version(name) for name in _LIBRARIES)],
                "procedure": request.hyperparameters.as_dict(),
                "predictions": spec_dict(request.predictions),
                "search": spec_dict(request.search),
                "harmonisation": spec_dict(request.harmonisation),
                "n_inner_folds": request.n_inner,
                "seed": [request.seed, *request.place],
                "device": resolve_device(request.device),
                "tail": None if request.tail is None else _plan_parts(request.tail),
                "view": self._view_parts(view),
            }
        )

    def _view_parts(self, view: TrainingView) -> dict[str, Any]:
        scans, activations = view.scans, view.activations
        return {
            "scans": [list(scans.scan_ids), list(scans.patient_ids), list(scans.scan_sha256)],
            "labels": [[name, view.labels[name]] for name in view.patient_ids],
            "positive": view.positive,
            "slices": _sha256(view.slices),
            "features": {name: _sha256(table.features) for name, table in view.tables.items()},
            "covariates": None if view.covariates is None else view.covariates.to_csv(),
            "activations": None
            if activations is None
            else [activations.array, *map(self._digest_of, activations.files)],
        }


def _plan_parts(plan: TailPlan) -> dict[str, Any]:
    if plan.start is not None:
        raise ValueError("fits that go on from another tail are not kept")
    return {"tuning": spec_dict(plan.spec), "source": _source_parts(plan.source)}


def _source_parts(source: TailSource) -> list[Any]:
    scaling = source.network.scaling
    return [
        source.weights_digest,
        source.cut,
        list(source.stages),
        source.precision,
        source.device,
        [list(scaling.mean), list(scaling.deviation)],
    ]


def _sha256(array: npt.NDArray[Any]) -> str:
    sha = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
