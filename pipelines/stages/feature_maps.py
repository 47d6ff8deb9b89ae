"""What the network makes of one slice of a held-out patient: a part of the stage explain."""

from __future__ import annotations

from pathlib import Path

from mri_transfer.explain.choice import choose_patients
from mri_transfer.explain.cohort_maps import own_heads
from mri_transfer.explain.feature_maps import write_feature_maps
from mri_transfer.explain.feature_pass import pass_slice
from mri_transfer.scans.slices import SliceStore
from mri_transfer.training.predictions import PatientScores
from pipelines.indexes import read_index
from pipelines.stage import Context
from pipelines.stages.folds import read_folds
from pipelines.stages.train import open_source_trunk, read_trained, tail_plan

__all__ = ["make_feature_maps"]


def make_feature_maps(context: Context) -> list[Path]:
    """Write the feature maps of the patient who is called correctly with the highest certainty.

    The network is that of the first repeat's fold that held the patient out.
    """
    workspace, config = context.workspace, context.config
    scores = PatientScores.read(workspace.patient_scores).table
    patient, *_ = choose_patients(scores, n=1, positive=config.labels.positive)
    folds = read_folds(workspace, config)
    trained = read_trained(workspace, config, folds)
    model = trained[own_heads(trained, folds)[patient.patient_id][0]]
    slices = read_index(workspace.slices)
    scan = slices[slices["patient_id"] == patient.patient_id].iloc[0]
    trunk, plan = open_source_trunk(context), tail_plan(context)
    tuned = None
    if plan is not None and model.tail is not None:
        tuned = model.tail.with_source(plan.source).whole(trunk)
    found = pass_slice(
        SliceStore(workspace.cache).get(scan["key"], scan_id=scan["scan_id"]),
        patient,
        untuned=trunk.network,
        tuned=tuned,
        repeat=model.repeat,
        fold=model.fold,
    )
    return write_feature_maps(found, workspace.explanations)
