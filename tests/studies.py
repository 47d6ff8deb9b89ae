"""Studies of transfer learning with made-up figures."""

from __future__ import annotations

from mri_transfer.evaluation.transfer_study import StudyArm, StudyDocument, advise
from mri_transfer.metrics.estimates import DifferenceWithP
from mri_transfer.metrics.intervals import Estimate

__all__ = ["arm", "study"]


def arm(kind: str, difference: float | None = None, p_holm: float | None = None) -> StudyArm:
    found = None
    if difference is not None:
        found = DifferenceWithP(
            value=difference,
            ci_low=difference - 0.05,
            ci_high=difference + 0.05,
            n=140,
            method="made up",
            p=p_holm,
        )
    return StudyArm(
        name=f"vgg16-{kind}",
        trunk="vgg16",
        strategy=kind,
        method="full",
        pretrained=True,
        transfer="fine-tuning",
        state="done",
        estimated_s=100.0,
        measured_s=60.0 if kind == "frozen" else 600.0,
        n_trained=7,
        auc=None,
        difference=found,
        p_holm=p_holm,
    )


def study() -> StudyDocument:
    """Return a study of three arms, one of which was not run."""
    auc = Estimate(value=0.78, ci_low=0.7, ci_high=0.85, n=140, method="made up")
    arms = (
        arm("frozen").model_copy(update={"auc": auc}),
        arm("some", 0.03, 0.4).model_copy(update={"auc": auc}),
        arm("all").model_copy(
            update={"state": "over budget", "reason": "too dear", "measured_s": None}
        ),
    )
    return StudyDocument(
        n_patients=140,
        n_positive=70,
        confidence=0.95,
        positive_label="AD",
        negative_label="CN",
        slice_px=128,
        reference="vgg16-frozen",
        warnings=(),
        arms=arms,
        learning_curve=None,
        fewer_patients=None,
        advice=advise(arms, reference="vgg16-frozen", n_patients=140),
    )
