"""What kind of transfer learning a model is, in the words of the field."""

from __future__ import annotations

from mri_transfer.evaluation.transfer_study import TransferType, transfer_type
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.trunks import TrunkSpec, weights_released
from mri_transfer.report.blocks.cells import Column, Table, table_of
from mri_transfer.report.blocks.wording import plain_decimal
from mri_transfer.training.instances import InstancesRecord

__all__ = ["KINDS_OF_TRANSFER", "SETTING_OF_TRANSFER", "transfer_sentences", "transfer_table"]

#: What is transferred, and what becomes of it, by type.
_KINDS: dict[TransferType, str] = {
    "feature extraction": "Feature extraction: the trunk stays as it was trained on natural "
    "images, and a head learns from its features.",
    "fine-tuning": "Fine-tuning: some stages go on learning from the parameters that natural "
    "images gave them.",
    "architecture only": "Architecture only: the same network from random weights, to see what the "
    "weights themselves are worth.",
}
KINDS_OF_TRANSFER = " ".join(_KINDS.values())
#: Domain and task on both sides, and why transfer is inductive.
SETTING_OF_TRANSFER = (
    "Labelled MRI is the target domain and the diagnosis the target task, so transfer is "
    "inductive: source (natural images, 1000 kinds of objects) and target differ in domain and in "
    "task."
)


_UNLABELLED = (
    "Scans of test patients, labelled or not, take no part in training; if unlabelled ones did, it "
    "would be transductive."
)


def transfer_sentences(trunk: TrunkSpec, tuning: TuningSpec) -> list[str]:
    """Return what is transferred in a run, and from where to where.

    Parameters
    ----------
    trunk : TrunkSpec
    tuning : TuningSpec
    """
    pretrained = trunk.weights != "random" and tuning.start != "random"
    kind = _KINDS[transfer_type(pretrained=pretrained, trains=tuning.trains)]
    if not pretrained:
        return [kind]
    if trunk.weights == "scans":
        return [
            kind.replace("natural images", "unlabelled scans of other cohorts"),
            "Labelled MRI is the target domain and the diagnosis the target task, so transfer is "
            "inductive: the source is MRI, too, and its task (restoring masked squares of slices) "
            f"needs no label. {_UNLABELLED}",
        ]
    if not weights_released(trunk):
        return [
            kind.replace("natural images", "its source"),
            "Labelled MRI is the target domain and the diagnosis the target task, so transfer is "
            "inductive. Domain and task of the source are those of the weights, which are known by "
            "their digest alone.",
        ]
    return [kind, f"{SETTING_OF_TRANSFER} {_UNLABELLED}"]


def transfer_table(
    trunk: TrunkSpec, tuning: TuningSpec, instances: InstancesRecord | None
) -> Table | None:
    """Return what is transferred in a run, of what kind transfer is, from where to where.

    Parameters
    ----------
    trunk : TrunkSpec
    tuning : TuningSpec
    instances : InstancesRecord or None
        Patients of another cohort that heads were fitted to as well.
    """
    pretrained = trunk.weights != "random" and tuning.start != "random"
    rows = [
        ("Parameters", _parameters(tuning) if pretrained else "none: weights are random"),
        ("Features", _features(trunk, tuning) if pretrained else "none: no stage was pretrained"),
        ("Instances", _instances(instances)),
        ("Kind", _kind(pretrained=pretrained, instances=instances is not None)),
        ("Source", _source(trunk, instances, pretrained=pretrained)),
        ("Target", "T1 MRI of this cohort; the diagnosis"),
    ]
    return table_of(
        rows,
        "What is transferred, and between which domains and tasks",
        Column("Aspect", lambda row: row[0]),
        Column("In this run", lambda row: row[1], wide=True),
        name="transfer",
    )


def _parameters(tuning: TuningSpec) -> str:
    if tuning.trains:
        return "starting values of the thawed stages; the frozen stages as they are"
    return "those of the frozen stages, as they are"


def _features(trunk: TrunkSpec, tuning: TuningSpec) -> str:
    return f"maps of {trunk.layer}" + (", tuned in each fold" if tuning.trains else "")


def _instances(instances: InstancesRecord | None) -> str:
    if instances is None:
        return "none"
    return (
        f"{instances.n_patients} labelled patients of another cohort, in every training set with "
        f"weight {plain_decimal(instances.weight)}, never tested on"
    )


def _kind(*, pretrained: bool, instances: bool) -> str:
    if not pretrained and not instances:
        return "none: everything is learned from this cohort"
    return "inductive: the target task has labels, and test patients' scans are not looked at"


def _source(trunk: TrunkSpec, instances: InstancesRecord | None, *, pretrained: bool) -> str:
    known = []
    if pretrained and trunk.weights == "scans":
        known.append("unlabelled T1 MRI of other cohorts; restoring masked squares of slices")
    elif pretrained and weights_released(trunk):
        known.append("photographs (ImageNet); 1000 kinds of objects")
    elif pretrained:
        known.append("that of the weights, which are known by their digest alone")
    if instances is not None:
        known.append("T1 MRI of another cohort; the same diagnosis")
    return " / ".join(known) or "none"
