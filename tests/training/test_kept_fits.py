"""Fits that a killed run had finished: found again, the same bytes, and only for the same fit."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from pathlib import Path

import pytest

from mri_transfer.models.heads import LinearHeadSpec
from mri_transfer.training.cross_validation import CrossValidation, cross_validate
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.estimator import TransferClassifier
from mri_transfer.training.folds import Folds
from mri_transfer.training.kept_fits import KeptFits
from mri_transfer.training.one_fit import FitResult
from mri_transfer.training.tuning import TailPlan
from tests.synthetic import folds_of
from tests.tails_phantom import fast, labelled_cohort, source

PLAN = TailPlan(spec=fast(epochs=2, patience=0), source=source())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> LabelledFeatures:
    return labelled_cohort(tmp_path_factory.mktemp("scans"), n_patients=12)


def _folds(data: LabelledFeatures) -> Folds:
    return folds_of(data.scans, data.scan_is_positive)


def _run(data: LabelledFeatures, fit=None, *, plan: TailPlan = PLAN, seed: int = 4, **given):
    estimator = TransferClassifier(head=LinearHeadSpec(), tail=plan)
    return cross_validate(estimator, data, _folds(data), seed=seed, fit=fit, **given)


def _bytes(result: CrossValidation, folder: Path) -> dict[str, bytes]:
    for one in result.trained:
        one.write(folder / f"r{one.repeat}_f{one.fold}")
    result.patients.write(folder / "patients.csv")
    result.slices.write(folder / "slices.csv")
    result.inner.write(folder / "inner.csv")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_an_interrupted_run_keeps_its_folds_and_ends_with_the_same_bytes(data, tmp_path) -> None:
    n_folds = len(list(_folds(data)))
    kept = KeptFits(tmp_path / "cache")

    def interrupted(view, request, **given) -> FitResult:
        if request.place == (0, n_folds - 1):
            raise KeyboardInterrupt
        return kept.fit(view, request, **given)

    with pytest.raises(KeyboardInterrupt):
        _run(data, interrupted)
    n_kept = len(list((tmp_path / "cache").glob("fits/*/*.safetensors")))
    assert n_kept

    again = KeptFits(tmp_path / "cache")
    counted = []
    resumed = _run(data, again.fit, progress=lambda done, total: counted.append((done, total)))
    assert again.n_found == n_kept < n_folds
    assert counted[-1][0] == counted[-1][1]

    for name in ("resumed", "undisturbed"):
        (tmp_path / name).mkdir()
    undisturbed = _bytes(_run(data), tmp_path / "undisturbed")
    assert _bytes(resumed, tmp_path / "resumed") == undisturbed
    assert len(undisturbed) == 4 * n_folds + 3


def _n_found(data: LabelledFeatures, cache: Path, **settings) -> int:
    kept = KeptFits(cache)
    _run(data, kept.fit, only={(0, 0)}, **settings)
    return kept.n_found


@pytest.fixture(scope="module")
def filled(data, tmp_path_factory) -> Path:
    """A cache with the first fold of the run."""
    cache = tmp_path_factory.mktemp("filled") / "cache"
    assert _n_found(data, cache) == 0
    assert _n_found(data, cache) == 1
    return cache


@pytest.fixture
def cache(filled, tmp_path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "cache"))


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 5},
        {"plan": dataclasses.replace(PLAN, spec=fast(epochs=3, patience=0))},
        {
            "plan": dataclasses.replace(
                PLAN, source=dataclasses.replace(source(), weights_digest="1" * 64)
            )
        },
    ],
    ids=["seed", "settings", "source"],
)
def test_a_kept_fit_of_other_settings_is_not_used(data, cache, settings) -> None:
    assert _n_found(data, cache, **settings) == 0


def _others(data: LabelledFeatures, position: int, folder: Path) -> LabelledFeatures:
    """Return the cohort with another patient's activations in the place of one patient's scans."""
    name = data.patient_ids[position]
    files = list(data.activations.files)
    for i, owner in enumerate(data.scans.patient_ids):
        if owner == name:
            content = bytearray(files[i].read_bytes())
            content[-2] ^= 1
            files[i] = folder / files[i].name
            files[i].write_bytes(content)
    activations = dataclasses.replace(data.activations, files=tuple(files))
    return dataclasses.replace(data, activations=activations)


def test_a_kept_fit_is_of_its_training_patients_to_the_last_bit(data, cache, tmp_path) -> None:
    outer = next(iter(_folds(data)))
    assert _n_found(_others(data, outer.train[0], tmp_path), cache) == 0
    # The twin: it owes nothing to those whom the fold holds out.
    assert _n_found(_others(data, outer.test[0], tmp_path), cache) == 1


def test_a_damaged_entry_is_made_again(data, cache, caplog) -> None:
    (entry,) = cache.glob("fits/*/*.safetensors")
    whole = entry.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[: len(whole) // 2]):
        entry.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert _n_found(data, cache) == 0
        assert "cached entry of fits" in caplog.text or "cannot read" in caplog.text
        assert entry.read_bytes() == whole
