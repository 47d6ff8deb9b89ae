"""Which patients of a cohort lie outside a bundle's input contract, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mri_transfer.bundle import ModelBundle
from mri_transfer.bundle.checks import InputFacts
from mri_transfer.models.features import FeatureTable
from pipelines.jobs.retrain import read_training_summary
from pipelines.workspace import Workspace

__all__ = ["contract_faults"]


def contract_faults(
    bundle: ModelBundle, workspace: Workspace, tables: Mapping[str, FeatureTable]
) -> Mapping[str, Sequence[str]]:
    """Hold every scan of a run against a bundle's input contract.

    Parameters
    ----------
    bundle : ModelBundle
    workspace : Workspace
    tables : mapping of str to FeatureTable
        By pooling, of the bundle's own trunk.

    Returns
    -------
    mapping of str to sequence of str
        By patient, the titles of the checks that one scan or more does not pass. Patients whose
        scans pass all are not in it.
    """
    summary = read_training_summary(workspace)
    table = tables[bundle.trained.pooling]
    names, means = table.patient_means()
    mean_of = dict(zip(names, means, strict=True))
    faults: dict[str, list[str]] = {}
    for scan in summary.scans:
        checks = bundle.contract.judge(
            InputFacts(
                passed_through=scan.passed_through,
                turn=scan.turn,
                measures=scan.measures,
                histogram=scan.histogram,
                mean=mean_of[scan.patient_id],
                age_years=summary.ages.get(scan.patient_id),
            )
        )
        found = faults.setdefault(scan.patient_id, [])
        found += [check.title for check in checks if check.failed and check.title not in found]
    return {name: tuple(found) for name, found in faults.items() if found}
