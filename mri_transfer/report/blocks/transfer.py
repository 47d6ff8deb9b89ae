"""What kind of transfer learning a model is, in the words of the field."""

from __future__ import annotations

from mri_transfer.evaluation.transfer_study import TransferType, transfer_type
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.trunks import TrunkSpec, weights_released

__all__ = ["KINDS_OF_TRANSFER", "SETTING_OF_TRANSFER", "transfer_sentences"]

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
