"""What other programs run scores as the bundle does."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from mri_transfer.bundle import load_bundle
from mri_transfer.bundle.export import write_monai_bundle, write_onnx
from mri_transfer.bundle.network import scan_network
from mri_transfer.bundle.reference import draw_phantom
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.features import encode_poolings
from mri_transfer.models.heads import AttentionHeadSpec, MlpHeadSpec
from mri_transfer.scans.slices import SliceStack
from tests.bundle.bundles import (
    HARMONISED,
    N_SLICES,
    RECIPE,
    made_up_bundle,
    made_up_cohort,
)

#: Both compute in float32, in another order.
TOLERANCE = 1e-5


def _pixels(n: int = 3) -> np.ndarray:
    return np.stack([draw_phantom(N_SLICES, 32, number=k) for k in range(n)])


def _native(bundle, pixels: np.ndarray) -> np.ndarray:
    z_mm = np.arange(N_SLICES, dtype=np.float32)
    stacks = [SliceStack(scan_id="x", pixels=one, z_mm=z_mm) for one in pixels]
    pooling = bundle.procedure.pooling
    features = [encode_poolings(s, bundle.trunk, [pooling])[pooling].features for s in stacks]
    return bundle.score(np.stack(features))[0]


def _gentle(bundle, recalibration):
    """The bundle with a head whose scores of the untrained trunk's large features vary."""
    z_mm = np.arange(N_SLICES, dtype=np.float32)
    stacks = [SliceStack(scan_id="x", pixels=one, z_mm=z_mm) for one in _pixels(6)]
    seen = np.concatenate(
        [encode_poolings(s, bundle.trunk, ["max"])["max"].features for s in stacks]
    )
    tensors, kind = dict(bundle.trained.head.tensors), bundle.trained.head.kind
    size = float(np.abs(seen).max())
    if kind == "attention":
        tensors |= {"mean": seen.mean(0), "deviation": np.maximum(seen.std(0), size / 100)}
    else:
        tensors["kernel" if kind == "mlp" else "weight"] = (
            tensors["kernel" if kind == "mlp" else "weight"] / size
        )
    facts = {**bundle.trained.head.facts, "recalibration": recalibration}
    head = dataclasses.replace(bundle.trained.head, tensors=tensors, facts=facts)
    return dataclasses.replace(bundle, trained=dataclasses.replace(bundle.trained, head=head))


@pytest.mark.parametrize(
    ("head", "recalibration"),
    [
        (RECIPE.heads, {"method": "none", "parameters": {}}),
        (
            MlpHeadSpec(hidden=6, epochs=3),
            {"method": "beta", "parameters": {"a": [0.7], "b": [1.2], "c": [0.1]}},
        ),
        (
            AttentionHeadSpec(hidden=4, epochs=3),
            {
                "method": "isotonic",
                "parameters": {"scores": [0.01, 0.5, 0.99], "values": [0.1, 0.4, 0.8]},
            },
        ),
    ],
    ids=["linear", "mlp", "attention"],
)
def test_torch_and_onnx_score_as_the_bundle(head, recalibration, tmp_path: Path) -> None:
    bundle = _gentle(made_up_bundle(config=dataclasses.replace(RECIPE, heads=head)), recalibration)
    write_onnx(bundle, tmp_path / "b.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.onnx"]
    session, network = onnxruntime.InferenceSession(str(tmp_path / "b.onnx")), scan_network(bundle)
    for n in (1, 3):
        native = _native(bundle, _pixels(n))
        assert 1e-5 < native.min() <= native.max() < 1 - 1e-5
        with torch.inference_mode():
            score, slices = network(torch.from_numpy(_pixels(n)))
        np.testing.assert_allclose(score.numpy(), native, atol=TOLERANCE)
        onnx_score, onnx_slices = session.run(None, {"pixels": _pixels(n)})
        np.testing.assert_allclose(onnx_score, score, atol=TOLERANCE)
        np.testing.assert_allclose(onnx_slices, slices, atol=TOLERANCE)
        assert slices.shape == (n, N_SLICES)


def test_heads_that_harmonise_are_not_exported(tmp_path: Path) -> None:
    bundle = made_up_bundle(made_up_cohort(sites=True), HARMONISED)
    with pytest.raises(ConfigurationError, match="harmonise"):
        write_onnx(bundle, tmp_path / "b.onnx")
    assert not list(tmp_path.iterdir())


def test_monai_runs_its_bundle_and_scores_as_the_bundle(tmp_path: Path) -> None:
    from monai.bundle import ConfigParser, verify_metadata  # noqa: F401
    from monai.bundle import run as run_monai

    from tests.phantoms import asymmetric_phantom, store_nifti

    config = dataclasses.replace(
        RECIPE, preparation=dataclasses.replace(RECIPE.preparation, scans="none")
    )
    bundle = made_up_bundle(config=config)
    write_monai_bundle(bundle, tmp_path / "m")
    scan = store_nifti(tmp_path / "scan.nii.gz", asymmetric_phantom())
    run_monai(
        run_id="run",
        config_file=str(tmp_path / "m" / "configs" / "inference.json"),
        meta_file=str(tmp_path / "m" / "configs" / "metadata.json"),
        bundle_root=str(tmp_path / "m"),
        scan=str(scan),
        output=str(tmp_path / "p.json"),
    )
    found = json.loads((tmp_path / "p.json").read_text())
    native = load_bundle(tmp_path / "m" / "models" / "bundle").predict(scan)
    assert found == native.as_dict()
