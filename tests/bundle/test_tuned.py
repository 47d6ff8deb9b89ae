"""Bundles with a trained tail: what was fitted is what is packed, and scores everywhere alike."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file, save_file

from mri_transfer.bundle import ModelBundle, load_bundle, write_bundle
from mri_transfer.bundle.export import write_onnx
from mri_transfer.bundle.sealing import seal_folder
from mri_transfer.core.files import write_json
from mri_transfer.errors import ConfigurationError, StoreError
from mri_transfer.models.features import encode_poolings
from mri_transfer.training.dataset import LabelledFeatures
from mri_transfer.training.fitted_model import patient_scores
from mri_transfer.training.model_config import ModelConfig
from mri_transfer.training.refit import Refit, refit_on_all
from mri_transfer.training.update_tail import TailUpdate
from tests.bundle.bundles import made_up_bundle, some_trunk
from tests.bundle.tuned import (
    pictures,
    plan,
    refitted,
    scan_of,
    tuned_bundle,
    tuned_cohort,
    tuned_recipe,
)

CONFIG = tuned_recipe()
Made = tuple[LabelledFeatures, Refit, ModelBundle]


def _make(folder: Path, config: ModelConfig = CONFIG) -> Made:
    cohort = tuned_cohort(folder, config)
    refit = refitted(config, cohort)
    return cohort, refit, tuned_bundle(config, cohort, refit)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return _make(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def packed(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "b"
    write_bundle(made[2], path)
    return path


def _native(bundle: ModelBundle, pixels: np.ndarray) -> np.ndarray:
    stacks = [scan_of(one) for one in pixels]
    features = [encode_poolings(s, bundle.trunk, ["max"])["max"].features for s in stacks]
    return bundle.score(np.stack(features))[0]


def test_a_loaded_bundle_scores_scans_as_the_fit_did(made: Made, packed: Path) -> None:
    cohort, refit, _ = made
    found = _native(load_bundle(packed), pictures(len(cohort.patient_ids)))
    np.testing.assert_allclose(found, patient_scores(refit.trained, cohort), atol=1e-6)
    # The tail matters: features of the untuned trunk score otherwise.
    untuned = load_bundle(packed).score(cohort.scans.features)[0]
    assert np.abs(untuned - found).max() > 0.01


def test_one_tail_serves_all_heads_in_half_precision(made: Made, packed: Path) -> None:
    tails = sorted(file.name for file in (packed / "heads").glob("*_tail*"))
    assert tails == ["final_tail.json", "final_tail.safetensors"]
    stored = load_file(packed / "heads" / "final_tail.safetensors")
    assert {values.dtype for values in stored.values()} == {np.dtype(np.float16)}
    facts = load_bundle(packed).facts
    # VGG16's third block: 128 -> 256 channels, then twice 256 -> 256.
    assert facts["tail"]["numbers"] == 9 * 256 * (128 + 256 + 256) + 3 * 256
    assert facts["tail"]["bytes"] == 2 * facts["tail"]["numbers"]
    assert (facts["schema"], facts["tail"]["cut"]) == ("mri-transfer/bundle/2", "block2_pool")
    assert made[1].trained.record.tuning.epochs == 2


def test_the_texts_say_that_resamples_share_the_tail(made: Made) -> None:
    texts = made[2].texts
    assert "A fine-tuned vgg16 trunk" in texts["model_card.md"]
    assert (
        "a resample fits a head of its own on the features of this one tail"
        in (texts["model_card.md"])
    )
    assert "stages behind block2_pool are in this bundle" in texts["LICENSE.txt"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"method": "ssf", "strategy": "most", "learning_rate": 0.05},
        {"method": "lora", "learning_rate": 0.02},
        {"strategy": "all", "start": "random"},
    ],
    ids=["full", "ssf", "lora", "architecture alone"],
)
def test_onnx_scores_as_the_bundle(settings, tmp_path: Path) -> None:
    cohort, refit, bundle = _make(tmp_path, tuned_recipe(**settings))
    write_onnx(bundle, tmp_path / "b.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "b.onnx"))
    pixels = pictures(4, seed=5)
    (score, _), native = session.run(None, {"pixels": pixels}), _native(bundle, pixels)
    np.testing.assert_allclose(score, native, atol=1e-4)
    known = patient_scores(refit.trained, cohort)
    (score, _) = session.run(None, {"pixels": pictures(12)})
    np.testing.assert_allclose(score, known, atol=1e-4)


def test_a_tail_that_was_changed_is_noticed(packed: Path, tmp_path: Path) -> None:
    """Also by somebody who seals the bundle anew."""
    bundle = load_bundle(packed)
    name, kernel = max(bundle.tail.tensors.items(), key=lambda item: item[1].size)
    moved = {**bundle.tail.tensors, name: (kernel.astype(np.float32) * 1.5).astype(np.float16)}
    other = dataclasses.replace(bundle, tail=dataclasses.replace(bundle.tail, tensors=moved))
    write_bundle(other, tmp_path / "b")
    with pytest.raises(StoreError, match="the trunk sees other features"):
        _ = load_bundle(tmp_path / "b").trunk
    path = tmp_path / "b" / "heads" / "final_tail.safetensors"
    save_file({"a": np.zeros(2, np.float16)}, path)
    with pytest.raises(StoreError, match="changed"):
        load_bundle(tmp_path / "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.update(schema="mri-transfer/bundle/1"), "bundle/1 with a tail"),
        (lambda facts: facts["tail"].update(cut="block1_pool"), "the cut as described"),
        (lambda facts: facts["recipe"]["tuning"].update(epochs=3), "the tail's settings"),
        (lambda facts: facts["recipe"].pop("tuning"), "a tail is there"),
        (lambda facts: facts["trunk"].update(digest="0" * 64), "the tail's trunk"),
    ],
)
def test_documents_that_contradict_the_tail_are_refused(
    made: Made, tmp_path: Path, change, message: str
) -> None:
    folder = tmp_path / "b"
    write_bundle(made[2], folder)
    facts = json.loads((folder / "bundle.json").read_text())
    change(facts)
    write_json(folder / "bundle.json", facts)
    seal_folder(folder)
    with pytest.raises(StoreError, match=message):
        load_bundle(folder)


def test_numbers_that_are_none_are_refused(made: Made, tmp_path: Path) -> None:
    bundle = made[2]
    name, values = next(iter(bundle.tail.tensors.items()))
    spoilt = {**bundle.tail.tensors, name: np.full_like(values, np.nan)}
    other = dataclasses.replace(bundle, tail=dataclasses.replace(bundle.tail, tensors=spoilt))
    write_bundle(other, tmp_path / "b")
    with pytest.raises(StoreError, match="no finite numbers"):
        load_bundle(tmp_path / "b")


def test_a_frozen_bundle_is_what_it_was(tmp_path: Path) -> None:
    """Versions that know no tails read it."""
    bundle = made_up_bundle()
    assert bundle.facts["schema"] == "mri-transfer/bundle/1"
    assert "tail" not in bundle.facts
    assert "tuning" not in bundle.facts["recipe"]
    assert "A frozen vgg16 trunk" in bundle.texts["model_card.md"]
    write_bundle(bundle, tmp_path / "b")
    assert load_bundle(tmp_path / "b").tail is None


def test_what_does_not_go_together_is_said_before_anything_is_made(made: Made) -> None:
    cohort, refit, _ = made
    with pytest.raises(ConfigurationError, match="features alone cannot refit"):
        tuned_bundle(CONFIG, cohort, refit, with_features=True)
    with pytest.raises(ConfigurationError, match="what it starts from is not known"):
        refit_on_all(CONFIG, cohort)
    with pytest.raises(ConfigurationError, match="found vgg16, fp32, frozen"):
        tuned_bundle(CONFIG, cohort, refit, trunk=some_trunk())


def test_a_scan_has_the_features_that_it_had_in_training(made: Made) -> None:
    """To the last byte: alone here, there among others and from what was kept at the cut."""
    cohort, refit, bundle = made
    trained = refit.on_features(cohort)[1].scans.features
    for seen, pixels in zip(trained, pictures(len(trained)), strict=True):
        found = encode_poolings(scan_of(pixels), bundle.trunk, ["max"])["max"].features
        np.testing.assert_array_equal(found, seen)
    assert not np.allclose(trained, cohort.scans.features, rtol=1e-3)


@pytest.mark.slow
def test_a_tail_that_was_trained_further_is_packed_as_its_successor(
    made: Made, packed: Path, tmp_path: Path
) -> None:
    cohort, refit, parent = made
    new = tuned_cohort(tmp_path, CONFIG, prefix="new", seed=5)
    tuning = dataclasses.replace(CONFIG.tuning, ewc=10.0, rehearsal=0.5)
    further = TailUpdate(config=CONFIG, tuning=tuning, plan=plan(CONFIG))
    done = further.run(refit.trained, new, cohort)
    bundle = tuned_bundle(further.lasting, new, done.refit, mode="tune", parent=parent)
    write_bundle(bundle, tmp_path / "b2")
    loaded = load_bundle(tmp_path / "b2")
    assert loaded.facts["mode"] == "tune"
    assert loaded.facts["cohort"]["n_patients"] == 24
    assert loaded.config == CONFIG
    found = _native(loaded, pictures(len(new.patient_ids), seed=5))
    np.testing.assert_allclose(found, patient_scores(done.refit.trained, new), atol=1e-6)
    assert any(
        not np.array_equal(values, loaded.tail.tensors[name])
        for name, values in parent.tail.tensors.items()
    )
