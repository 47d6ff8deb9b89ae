"""A bundle for other programs: ONNX of trunk and head, and a MONAI bundle.

Both score as the bundle does, up to rounding. ONNX computes in float32, so a bundle whose features
were computed in bf16 is scored a little otherwise. ONNX begins with the slices: preparing the scan
and cutting them stays with this package, and so do the input contract and the interval.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mri_transfer.bundle.model import ModelBundle
from mri_transfer.bundle.storage import demand_free, write_bundle
from mri_transfer.core.files import atomic_path, atomic_write_text, write_json
from mri_transfer.version import __version__

__all__ = ["write_monai_bundle", "write_onnx"]

_INPUT, _OUTPUTS = "pixels", ("score", "slice_score")


def write_onnx(bundle: ModelBundle, path: Path) -> None:
    """Write trunk, head, aggregation and recalibration as one ONNX graph.

    Parameters
    ----------
    bundle : ModelBundle
        Without harmonisation.
    path : Path
        Ends in .onnx. Input `pixels`: uint8, (n_scans, n_slices, size_px, size_px), as
        `SliceStack.pixels`; outputs `score`: float32, (n_scans,), and `slice_score`: float32,
        (n_scans, n_slices).

    Raises
    ------
    ConfigurationError
        If the heads harmonise sites.
    """
    import onnx
    import torch

    from mri_transfer.bundle.network import scan_network

    network, slices = scan_network(bundle), bundle.config.slices
    shape = (2, slices.n_slices, slices.size_px, slices.size_px)
    with atomic_path(path) as temporary:
        torch.onnx.export(
            network,
            (torch.zeros(shape, dtype=torch.uint8),),
            str(temporary),
            input_names=[_INPUT],
            output_names=list(_OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("n_scans", min=1, max=1024)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(str(temporary))
        model.doc_string = f"Research use only. {_task(bundle)}"
        notes = {"bundle_version": bundle.version, "bundle_digest": bundle.digest}
        onnx.helper.set_model_props(model, notes)
        onnx.checker.check_model(model)
        onnx.save(model, str(temporary))


def write_monai_bundle(bundle: ModelBundle, folder: Path) -> None:
    """Write a folder that `monai.bundle` scores a scan with.

    It holds this bundle under `models/bundle`, and calls it: preparation, slices, trunk, heads and
    interval are the native ones, and so is the score. The run needs this package and writes the
    prediction as JSON. In the folder of the MONAI bundle (the command needs the package `fire`)::

        python -m monai.bundle run --config_file configs/inference.json --scan scan.nii.gz

    Parameters
    ----------
    bundle : ModelBundle
    folder : Path
        Must not exist.
    """
    demand_free(folder)
    write_bundle(bundle, folder / "models" / "bundle")
    write_json(folder / "configs" / "metadata.json", _metadata(bundle))
    # Keys in reading order, unlike other files, since people edit this one.
    text = json.dumps(_inference(), indent=2) + "\n"
    atomic_write_text(folder / "configs" / "inference.json", text)
    atomic_write_text(folder / "LICENSE", bundle.texts["LICENSE.txt"])
    atomic_write_text(folder / "docs" / "README.md", bundle.texts["model_card.md"])


def _inference() -> dict[str, Any]:
    return {
        "bundle_root": ".",
        "scan": "scan.nii.gz",
        "output": "prediction.json",
        "model": {
            "_target_": "mri_transfer.bundle.load_bundle",
            "path": "$@bundle_root + '/models/bundle'",
        },
        "network_def": {"_target_": "mri_transfer.bundle.network.scan_network", "bundle": "@model"},
        "prediction": "$@model.predict(@scan)",
        "writer": {
            "_target_": "mri_transfer.core.files.write_json",
            "_mode_": "callable",
        },
        "run": ["$@writer(@output, @prediction.as_dict())"],
    }


def _metadata(bundle: ModelBundle) -> dict[str, Any]:
    slices, labels = bundle.config.slices, bundle.facts["labels"]
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/"
        "0.8.1/meta_schema_20240725.json",
        "version": bundle.version,
        "changelog": {bundle.version: f"mode {bundle.facts['mode']}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"mri-transfer": __version__},
        "task": _task(bundle),
        "description": "Research use only. See docs/README.md",
        "authors": "For the authors to supply",
        "copyright": "See LICENSE",
        "intended_use": "Research use only; not a medical device",
        "network_data_format": {
            "inputs": {
                "pixels": {
                    "type": "image",
                    "format": "magnitude",
                    "modality": "MR",
                    "num_channels": slices.n_slices,
                    "spatial_shape": [slices.size_px, slices.size_px],
                    "dtype": "uint8",
                    "value_range": [0, 255],
                    "is_patch_data": False,
                    "channel_def": {"0": "axial slices, the lowest first"},
                }
            },
            "outputs": {
                "pred": {
                    "type": "probability",
                    "format": "probability",
                    "num_channels": 1,
                    "spatial_shape": [1],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": False,
                    "channel_def": {"0": labels["positive"]},
                }
            },
        },
    }


def _task(bundle: ModelBundle) -> str:
    labels = bundle.facts["labels"]
    return f"{labels['positive']} against {labels['others']} from T1 brain MRI"
