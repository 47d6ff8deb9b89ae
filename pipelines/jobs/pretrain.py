"""pretrain: weights of the autoencoder from unlabelled scans, with what they have seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.activations import ActivationTable
from mri_transfer.models.pretraining.document import PretrainingDocument
from mri_transfer.models.pretraining.fit import AUTOENCODER_NAME, UnlabelledSlices, pretrain
from mri_transfer.models.pretraining.spec import PretrainingSpec
from mri_transfer.models.trunks import resolve_device
from mri_transfer.models.trunks.seen import SeenScans
from mri_transfer.scans.slices import SliceStore
from mri_transfer.version import __version__
from pipelines.config import RunConfig
from pipelines.indexes import read_index
from pipelines.plan.order import stages_until
from pipelines.runner import RunOutcome, begin_run, run_pipeline
from pipelines.stage import Reporter

__all__ = ["pretrain_weights"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pretraining:
    """What came of pretraining.

    Attributes
    ----------
    document : PretrainingDocument
    record : Path
        The file of the document.
    scans : RunOutcome
        Of the stages from the scans to their slices.
    """

    document: PretrainingDocument
    record: Path
    scans: RunOutcome


def pretrain_weights(
    manifest: Path,
    out: Path,
    config: RunConfig,
    spec: PretrainingSpec,
    *,
    cache: Path | None = None,
    jobs: int | None = None,
    reporter: Reporter,
) -> Pretraining:
    """Train the autoencoder on the scans of a manifest, whatever their labels.

    The scans go through the stages of a run, up to the slices, in the folder `out`.run; the
    manifest there has no labels.

    Parameters
    ----------
    manifest : Path
        Of cohorts that the weights are not going to be evaluated on.
    out : Path
        The file of the weights, .safetensors; a JSON file of the same name is written beside it.
    config : RunConfig
        How scans are prepared and cut.
    spec : PretrainingSpec
    cache, jobs, reporter
        As for a run.

    Raises
    ------
    ConfigurationError
        If the file exists or has another suffix.
    FoldError
        If there are fewer than two patients.
    """
    record = out.with_suffix(".json")
    _demand_new(out, record)
    labels = dataclasses.replace(config.labels, unlabelled="keep")
    config = dataclasses.replace(config, labels=labels)
    folder = out.with_suffix(".run")
    workspace = begin_run(_without_labels(manifest, folder), folder, config, cache=cache)
    outcome = run_pipeline(
        workspace, config, stages=stages_until("slices"), jobs=jobs, reporter=reporter
    )
    index, store = read_index(workspace.slices), SliceStore(workspace.cache)
    patient_ids = tuple(index["patient_id"])
    reporter.heading("pretrain")
    found = pretrain(
        UnlabelledSlices(
            pixels=ActivationTable(
                files=tuple(store.path(key) for key in index["key"]), array="pixels"
            ),
            patient_ids=patient_ids,
            n_slices=config.slices.n_slices,
        ),
        spec,
        device=resolve_device(config.features.device),
        progress=reporter.counter("pretraining, epochs"),
    )
    # Those held out as well: they chose the epoch.
    seen = SeenScans.of(index["scan_sha256"], patient_ids, size_px=config.slices.size_px)
    document = PretrainingDocument(
        trunk=AUTOENCODER_NAME,
        weights_sha256=found.digest,
        settings=spec,
        slices=config.slices,
        n_scans=len(index),
        n_patients=len(set(patient_ids)),
        n_held_out=found.n_held_out,
        epochs=found.epochs,
        kept=found.kept,
        made_by=f"mri-transfer {__version__}",
    )
    found.write(out, seen)
    document.write(record)
    return Pretraining(document=document, record=record, scans=outcome)


def _demand_new(out: Path, record: Path) -> None:
    if out.suffix != ".safetensors":
        raise ConfigurationError(
            "not a name for a file of weights",
            where=f"--out {out}",
            expected="a name that ends in .safetensors",
        )
    for file in (out, record):
        if file.exists():
            raise ConfigurationError(
                "the file exists",
                where=f"--out {file}",
                remedy="Choose another name, or remove the file first",
            )


def _without_labels(manifest: Path, folder: Path) -> Path:
    """Write the manifest without labels into the folder of the run."""
    cohort = read_manifest(manifest)
    scans = cohort.scans.assign(label=None).astype({"label": "string"})
    path = folder / "unlabelled.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataclasses.replace(cohort, scans=scans).write(path)
    return path
