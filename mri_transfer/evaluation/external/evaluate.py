"""External testing: the full evaluation of a finished model on another cohort, nothing refitted.

`evaluate_external` runs `evaluate` on the one score that the model gives each patient, and sets
what it finds beside what the model's makers found in internal testing. Patients who were trained on
are left out; figures are given for all readable patients and for those whom the model's input
contract admits. A cohort of one label is no error: what one label can tell is told.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.errors import EvaluationError
from mri_transfer.evaluation.document import Evaluation
from mri_transfer.evaluation.evaluate import evaluate
from mri_transfer.evaluation.external.adequacy import (
    observed_to_expected,
    one_label_figures,
    sample_adequacy,
)
from mri_transfer.evaluation.external.case_mix import compare_case_mix, describe_case_mix
from mri_transfer.evaluation.external.document import (
    CohortCounts,
    ExternalDocument,
    OutsideContract,
    Population,
    Populations,
    UsedThreshold,
)
from mri_transfer.evaluation.external.results import BundleFacts
from mri_transfer.evaluation.external.settings import ExternalSpec, ModelFacts, NewCohort
from mri_transfer.evaluation.external.transportability import (
    cross_chosen,
    recalibration_advice,
    rechosen_threshold,
)
from mri_transfer.evaluation.notices import study_notices
from mri_transfer.evaluation.settings import EvaluationFacts, EvaluationSpec, Evidence
from mri_transfer.metrics.named_rng import named_rng
from mri_transfer.metrics.scored import ScoredPatients
from mri_transfer.metrics.unpaired import compare_figures

__all__ = ["ExternalEvaluation", "evaluate_external"]

#: Caveats of `evaluate` that are about internal testing.
_INTERNAL = ("internal_testing_only", "no_baseline")

_CHOICES = (
    "procedure",
    "trials",
    "recalibration",
    "recalibration_log_loss",
    "threshold_from",
    "target_thresholds",
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExternalEvaluation:
    """What testing on another cohort found.

    Attributes
    ----------
    document : ExternalDocument
        The content of `external.json`.
    evaluation : Evaluation or None
        The content of `evaluation.json`, of all readable patients; None with one label.
    scores : DataFrame
        The scores that it is of, with fold and call as they were used.
    """

    document: ExternalDocument
    evaluation: Evaluation | None
    scores: pd.DataFrame


def evaluate_external(
    cohort: NewCohort, model: ModelFacts, *, spec: ExternalSpec, settings: EvaluationSpec
) -> ExternalEvaluation:
    """Test a finished model on another cohort.

    Parameters
    ----------
    cohort : NewCohort
    model : ModelFacts
    spec : ExternalSpec
    settings : EvaluationSpec
        Baselines are not fitted, whatever it says.

    Raises
    ------
    EvaluationError
        If nobody is left to test on, such as where every patient was trained on.
    """
    counted = _counted(cohort, spec)
    inside = counted.only([name for name in counted.patients.index if name not in cohort.faults])
    tester = _Tester(model=model, spec=spec, settings=settings)
    everybody, evaluation, scores = tester.test(counted)
    same = len(inside.patients) == len(counted.patients)
    admitted = everybody if same else tester.test(inside)[0]
    document = ExternalDocument(
        positive_label=model.task.positive,
        negative_label=model.task.negative,
        confidence=settings.confidence,
        synthetic=cohort.synthetic,
        warnings=study_notices(
            synthetic=cohort.synthetic or model.synthetic,
            trunk_weights=model.trunk_weights,
            moments_adapted=cohort.moments_adapted,
        ),
        bundle=BundleFacts(
            version=model.version,
            digest=model.digest,
            n_patients=model.n_patients,
            performance_from=model.performance_from,
        ),
        threshold=UsedThreshold(
            bundle=model.threshold,
            origin=str(model.choices.get("threshold_from", "")),
            used=spec.threshold,
        ),
        cohort=_counts(cohort, counted, spec),
        populations=Populations(all=everybody, in_contract=admitted),
    )
    return ExternalEvaluation(document=document, evaluation=evaluation, scores=scores)


def _counted(cohort: NewCohort, spec: ExternalSpec) -> NewCohort:
    """Return the cohort without patients who were trained on, unless they are to count."""
    if spec.allow_overlap or not cohort.overlapping:
        return cohort
    left = [name for name in cohort.patients.index if name not in set(cohort.overlapping)]
    if not left:
        raise EvaluationError(
            "every patient of this cohort was trained on: figures would not be a test",
            found=f"{len(cohort.patients)} patients, all of them known to the bundle",
            remedy="Test on other patients; to see the figures all the same, marked as no test, "
            "say --allow-overlap",
        )
    return cohort.only(left)


def _counts(cohort: NewCohort, counted: NewCohort, spec: ExternalSpec) -> CohortCounts:
    faults = [cohort.faults.get(str(name), ()) for name in counted.patients.index]
    checks = sorted({check for own in faults for check in own})
    return CohortCounts(
        n_readable=len(cohort.patients),
        n_overlapping=len(set(cohort.overlapping) & set(cohort.patients.index)),
        overlap_counted=spec.allow_overlap,
        contract_known=cohort.contract_known,
        n_outside_contract=sum(bool(own) for own in faults),
        outside_contract=tuple(
            OutsideContract(check=check, n=sum(check in own for own in faults)) for check in checks
        ),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tester:
    model: ModelFacts
    spec: ExternalSpec
    settings: EvaluationSpec

    def test(self, cohort: NewCohort) -> tuple[Population, Evaluation | None, pd.DataFrame]:
        """Return the figures of a population, its evaluation, and the scores that it is of."""
        rows = cohort.scores.sort_values("patient_id", ignore_index=True)
        labels = (rows["label"] == self.model.task.positive).to_numpy(dtype=bool)
        scores = rows["score"].to_numpy(dtype=np.float64)
        if len(rows) == 0:
            return Population(n=0, n_positive=0, reason="no patient is left"), None, rows
        patients = cohort.patients.loc[rows["patient_id"].tolist()]
        mix = describe_case_mix(patients, scores, labels)
        studied: dict[str, Any] = {
            "n": len(rows),
            "n_positive": int(labels.sum()),
            "case_mix": compare_case_mix(self.model.case_mix, mix),
        }
        if labels.all() or not labels.any():
            label = self.model.task.positive if labels.all() else self.model.task.negative
            one_label = one_label_figures(
                bool(labels[0]),
                scores,
                self.model.threshold,
                n_samples=self.settings.bootstrap_samples,
                rng=named_rng(self.spec.seed, "one label"),
                confidence=self.settings.confidence,
            )
            reason = f"every patient is labelled {label}: most figures need both labels"
            return Population(**studied, reason=reason, one_label=one_label), None, rows
        scored = ScoredPatients.of(labels, scores)
        evaluation, used = self._evaluate(rows, cohort, patients, scored)
        return Population(**studied, **self._beside(evaluation, scored)), evaluation, used

    def _evaluate(
        self, rows: pd.DataFrame, cohort: NewCohort, patients: pd.DataFrame, scored: ScoredPatients
    ) -> tuple[Evaluation, pd.DataFrame]:
        model = self.model
        thresholds: Mapping[tuple[int, int], float] = {(0, 0): model.threshold}
        slices = cohort.slice_scores
        if self.spec.threshold == "rechosen":
            chosen = cross_chosen(scored, seed=self.spec.seed, n_repeats=1)
            thresholds = chosen.thresholds
            called = np.where(
                chosen.called(rows["score"])[0], model.task.positive, model.task.negative
            )
            rows = rows.assign(fold=chosen.folds[0], predicted=called)
            fold_of = dict(zip(rows["patient_id"], rows["fold"], strict=True))
            slices = slices.assign(fold=slices["patient_id"].map(fold_of))
        result = evaluate(
            rows,
            slices,
            patients=patients,
            folds=rows[["repeat", "patient_id", "fold", "label"]],
            thresholds=thresholds,
            spec=dataclasses.replace(
                self.settings, baselines=False, image_baselines=False, random_trunk=False
            ),
            task=model.task,
            seed=self.spec.seed,
            facts=EvaluationFacts(synthetic=cohort.synthetic, trunk_weights=model.trunk_weights),
            evidence=Evidence(heads=[self._head(*fold) for fold in sorted(thresholds.items())]),
        )
        caveats = tuple(known for known in result.document.caveats if known.code not in _INTERNAL)
        document = result.document.model_copy(update={"caveats": caveats})
        return dataclasses.replace(result, document=document), rows

    def _head(self, fold: tuple[int, int], threshold: float) -> dict[str, Any]:
        facts = {name: self.model.choices.get(name) for name in _CHOICES}
        facts["target_thresholds"] = facts["target_thresholds"] or {}
        return {**facts, "repeat": fold[0], "fold": fold[1], "threshold": threshold}

    def _beside(self, evaluation: Evaluation, scored: ScoredPatients) -> dict[str, Any]:
        """Return the parts of a population with both labels, by their names."""
        confidence, seed = self.settings.confidence, self.spec.seed
        figures, internal = evaluation.document.patient, self.model.performance
        compared = compare_figures(dict(figures), internal, confidence=confidence)
        if self.spec.allow_overlap:
            compared = tuple(figure.model_copy(update={"p": None}) for figure in compared)
        expected = internal["auc"].value if "auc" in internal else None
        expected = figures.auc.value if expected is None else expected
        assert expected is not None  # of both labels
        return {
            "figures": figures,
            "comparison": compared,
            "observed_to_expected": observed_to_expected(scored, confidence=confidence),
            "rechosen": rechosen_threshold(scored, seed=seed, confidence=confidence),
            "recalibration": recalibration_advice(scored, seed=seed, confidence=confidence),
            "sample_size": sample_adequacy(scored, expected_auc=expected, confidence=confidence),
        }
