"""A tail on disk is the tail that was fitted; applied, it is the model's own stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from mri_transfer.core.tensorfile import write_tensors
from mri_transfer.errors import HeadError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.features import FeatureSpec
from mri_transfer.models.model import PatientModel
from mri_transfer.models.tails.fitting import fit_tail
from mri_transfer.models.tails.tail import Tail, TailSource
from mri_transfer.models.tails.trainer import LabelledActivations
from mri_transfer.models.trunks import TrunkSpec, load_trunk
from tests.explain.phantom import SLICES, make_head
from tests.tails_phantom import N_SLICES, fast, labelled_cohort, source


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tail, ActivationTable]:
    data = labelled_cohort(tmp_path_factory.mktemp("scans"))
    scans = LabelledActivations(
        activations=data.activations,
        patient_ids=data.scans.patient_ids,
        labels=data.scan_is_positive,
        n_slices=N_SLICES,
    )
    spec = fast(method="lora")
    fit = fit_tail(source(), spec, scans, pooling="max", seed=0, n_epochs=2)
    return fit.tails[-1], data.activations


def test_what_is_read_is_what_was_written(fitted, tmp_path: Path) -> None:
    tail, activations = fitted
    tail.write(tmp_path / "t")
    again = Tail.read(tmp_path / "t")
    assert (again.spec, again.cut) == (tail.spec, tail.cut)
    with pytest.raises(HeadError, match="cannot be applied without the trunk"):
        again.network()
    features = again.with_source(source()).features(activations, ["max", "average"])
    expected = tail.features(activations, ["max", "average"])
    for pooling, values in expected.items():
        assert features[pooling].tobytes() == values.tobytes()


@pytest.mark.parametrize(
    "content", ["", "{}", '{"tuning": {"epochz": 1}, "cut": "a", "weights": ""}']
)
def test_a_damaged_description_is_refused_by_name(fitted, tmp_path: Path, content: str) -> None:
    fitted[0].write(tmp_path / "t")
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(HeadError, match="cannot read a tail's description"):
        Tail.read(tmp_path / "t")


def test_a_tail_goes_on_with_its_own_trunk_and_no_other(fitted) -> None:
    tail, _ = fitted
    for other in (
        source("stem"),
        dataclasses.replace(source(), weights_digest="1" * 64),
    ):
        with pytest.raises(HeadError, match="continues another trunk"):
            tail.with_source(other)


def test_tensors_of_another_tail_are_refused(fitted) -> None:
    tail, _ = fitted
    wrong = dataclasses.replace(tail, tensors={"tail.deep.9.weight": np.zeros(3)})
    with pytest.raises(HeadError, match="not a tensor of this tail"):
        wrong.network()


def test_a_scans_features_owe_nothing_to_other_scans(fitted) -> None:
    tail, activations = fitted
    together = tail.features(activations, ["max"])["max"]
    for scan in (0, 7):
        alone = tail.features(activations.rows([scan]), ["max"])["max"]
        assert alone[0].tobytes() == together[scan].tobytes()


def test_an_untrained_tail_makes_the_features_of_the_frozen_trunk(tmp_path: Path) -> None:
    data = labelled_cohort(tmp_path)
    tail = Tail(tensors={}, spec=fast(), cut="middle", weights_digest="0" * 64, source=source())
    found = tail.features(data.activations, ["max"])["max"]
    np.testing.assert_allclose(found, data.scans.features, rtol=1e-5, atol=1e-5)


def test_the_whole_model_says_what_features_and_head_say(tmp_path: Path) -> None:
    """VGG16 with its fourth block moved: from grey slices through `PatientModel`, in one go."""
    spec = TrunkSpec(weights="random", seed=2)
    trunk = load_trunk(spec, precision="fp32", device="cpu")
    tuning = fast(method="ssf")
    start = TailSource.of_trunk(trunk, tuning, FeatureSpec(precision="fp32", device="cpu"))
    assert (start.cut, start.stages) == ("block3_pool", ("block4_pool",))
    moved = {
        f"tail.block4_pool.block4_conv{i}.scale_shift.{name}": np.full(512, value, np.float16)
        for i in (1, 2, 3)
        for name, value in (("scale", 1.25), ("shift", 0.5))
    }
    tail = Tail(
        tensors=moved,
        spec=tuning,
        cut=start.cut,
        weights_digest=start.weights_digest,
        source=start,
    )
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (SLICES, 32, 32)).astype(np.uint8))
    prefix = load_trunk(
        dataclasses.replace(spec, layer="block3_pool"), precision="fp32", device="cpu"
    )
    kept = prefix.forward_slices(pixels).numpy()
    write_tensors(tmp_path / "a.safetensors", {"maps": kept}, schema="test")
    table = ActivationTable(files=(tmp_path / "a.safetensors",), array="maps")
    features = tail.features(table, ["max"])["max"]
    untuned = trunk.forward_slices(pixels).amax((2, 3)).numpy()
    assert not np.allclose(features[0], untuned, rtol=0.05)

    head = make_head("linear", 512)
    model = PatientModel.of_head(head, trunk=tail.whole(trunk)).double()
    bare = PatientModel.of_head(head).double()
    with torch.inference_mode():
        passed = tail.whole(trunk)(pixels).amax((2, 3)).numpy()
        np.testing.assert_allclose(passed, features[0], rtol=1e-3, atol=0.01)
        _, slices = model(pixels[None])
        logits, _ = bare.slices(torch.from_numpy(features).double())
    np.testing.assert_allclose(slices, torch.sigmoid(logits), rtol=1e-4, atol=1e-5)
