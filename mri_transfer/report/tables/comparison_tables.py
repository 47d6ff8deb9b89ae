"""The tables that set the model beside simpler ones, and the image beside what is known anyway."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from mri_transfer.evaluation.document import EvaluationDocument
from mri_transfer.evaluation.results import (
    BaselineComparison,
    IncrementalValue,
    LikelihoodRatioTest,
)
from mri_transfer.metrics.intervals import Estimate
from mri_transfer.metrics.results import Discordance, McNemar
from mri_transfer.report.blocks.cells import (
    Column,
    Row,
    Table,
    confidence_text,
    stacked,
    table_of,
    value_and_interval,
    with_p,
)
from mri_transfer.report.blocks.wording import bare_p, estimate, interval, number, p_value, verdict
from mri_transfer.report.inputs import ReportInputs

__all__ = [
    "auc_table",
    "baseline_table",
    "best_baseline",
    "image_value_sentences",
    "image_value_table",
    "mcnemar_table",
    "sorted_baselines",
]

_KINDS = {
    "constant": "constant: the same for every patient",
    "covariates": "covariates: known without the image",
    "image": "image: a simpler image feature",
}


def sorted_baselines(evaluation: EvaluationDocument) -> dict[str, BaselineComparison]:
    """Return the baselines by kind, constant, covariates, image, the best of a kind first."""
    found, kinds = evaluation.baselines, list(_KINDS)

    def place(name: str) -> tuple[int, float, str]:
        value = found[name].auc.value
        return kinds.index(found[name].kind), -1.0 if value is None else -value, name

    return {name: found[name] for name in sorted(found, key=place)}


def best_baseline(evaluation: EvaluationDocument, among: Collection[str]) -> str | None:
    """Return the baseline of covariates with the highest AUC; None if there is none."""
    for name, entry in sorted_baselines(evaluation).items():
        if name in among and entry.kind == "covariates" and entry.auc.value is not None:
            return name
    return None


def auc_table(inputs: ReportInputs) -> Table | None:
    """Return the AUC of the model and of each baseline, as the figure draws them."""
    scored: dict[str, Estimate] = {"This model": inputs.evaluation.patient.auc}
    scored |= {name: one.auc for name, one in sorted_baselines(inputs.evaluation).items()}
    return table_of(
        list(scored),
        "AUC by patient",
        Column("Scored by", lambda name: name),
        Column("AUC", lambda name: value_and_interval(scored[name])[0]),
        Column(confidence_text(inputs), lambda name: value_and_interval(scored[name])[1]),
    )


#: What stands behind the name of each baseline.
_BASELINE: tuple[Column[BaselineComparison], ...] = (
    Column("AUC", lambda baseline: stacked(baseline.auc)),
    Column("Balanced accuracy", lambda baseline: stacked(baseline.balanced_accuracy)),
    Column(
        "AUC, model minus baseline, by DeLong", lambda baseline: stacked(baseline.auc_difference)
    ),
    Column("p", lambda baseline: bare_p(baseline.auc_difference.p)),
    Column("by bootstrap of patients", lambda baseline: stacked(baseline.auc_difference_bootstrap)),
    Column("by fold, corrected t", lambda baseline: stacked(baseline.auc_difference_folds)),
    Column("p, by fold", lambda baseline: bare_p(baseline.auc_difference_folds.p)),
)


def baseline_table(inputs: ReportInputs) -> Table | None:
    """Return the model and each baseline, with three readings of the difference of their AUC."""
    baselines = sorted_baselines(inputs.evaluation)
    if not baselines:
        return None
    patient = inputs.evaluation.patient
    own = (stacked(patient.auc), stacked(patient.balanced_accuracy))
    rows = [Row("This model", (*own, "", "", "", "", ""))]
    rows += [
        Row(name, tuple(column.cell(one) for column in _BASELINE), note=_KINDS[one.kind])
        for name, one in baselines.items()
    ]
    return Table(
        caption=f"Model and baselines, same patients and folds, with {confidence_text(inputs)}",
        columns=("Scored by", *(column.title for column in _BASELINE)),
        rows=tuple(rows),
    )


def mcnemar_table(inputs: ReportInputs) -> Table | None:
    """Return whom only the model and whom only the baseline calls correctly."""
    task = inputs.task
    tests = {name: one.mcnemar for name, one in sorted_baselines(inputs.evaluation).items()}
    return table_of(
        [(name, test) for name, test in tests.items() if test is not None],
        "Calls at the threshold: patients whom only one of the two calls correctly (McNemar)",
        Column("Baseline", lambda row: row[0]),
        *_discordant("all", lambda test: test.accuracy),
        *_discordant(task.positive, lambda test: test.sensitivity),
        *_discordant(task.negative, lambda test: test.specificity),
    )


def _discordant(
    group: str, part: Callable[[McNemar], Discordance]
) -> tuple[Column[tuple[str, McNemar]], ...]:
    """Return the columns of one group of patients, of rows with a name and its test."""

    def counts(row: tuple[str, McNemar]) -> str:
        found = part(row[1])
        return f"{found.first_only} : {found.second_only}\nof {found.n}"

    def p(row: tuple[str, McNemar]) -> str:
        return f"{bare_p(part(row[1]).p_mid)}\nexact {bare_p(part(row[1]).p_exact)}"

    return Column(f"Only correct: model : baseline, {group}", counts), Column(f"p, {group}", p)


def image_value_table(inputs: ReportInputs) -> Table | None:
    """Return what the image adds to each set of covariates, and the covariates to the image."""
    found = inputs.evaluation.incremental_value

    def joined(title: str, part: str) -> Column[str]:
        return Column(title, lambda name: _joined(found[name], part))

    return table_of(
        _age_and_sex_first(found),
        f"Covariates and image joined, with {confidence_text(inputs)}",
        Column("Known without the image", lambda name: name),
        joined("AUC, joined", "joined_auc"),
        joined("Joined minus covariates, by DeLong", "joined_minus_covariates"),
        joined("by bootstrap of patients", "joined_minus_covariates_bootstrap"),
        joined("Joined minus image, by DeLong", "joined_minus_image"),
        joined("by bootstrap, minus image", "joined_minus_image_bootstrap"),
        Column(
            "Likelihood ratio test of the image",
            lambda name: _ratio_test(found[name].likelihood_ratio_test),
            wide=True,
        ),
    )


def image_value_sentences(inputs: ReportInputs) -> list[str]:
    """Return, for each set of covariates, whether the image is shown to add to it."""
    found = inputs.evaluation.incremental_value
    sentences = []
    for name in _age_and_sex_first(found):
        gain, area = found[name].joined_minus_covariates, found[name].joined_auc
        if gain is None or area is None or gain.value is None or gain.interval is None:
            reason = found[name].reason or (gain and gain.reason) or "no interval was computed"
            sentences.append(f"What the image adds to {name} is not known: {reason}.")
            continue
        what = verdict(
            gain,
            above=f"The image adds to {name}",
            below=f"The image takes away from {name}",
            neither=f"That the image adds to {name} is not shown",
        )
        sentences.append(
            f"{what}: joined, the AUC is {number(area.value, 2)}; joined minus {name} alone "
            f"{estimate(gain, confidence=inputs.evaluation.confidence)}."
        )
    return sentences


def _age_and_sex_first(found: Mapping[str, IncrementalValue]) -> list[str]:
    return sorted(found, key=lambda name: (set(found[name].covariates) != {"age", "sex"}, name))


def _joined(entry: IncrementalValue, part: str) -> str:
    figure = getattr(entry, part)
    if figure is None:
        return f"not defined:\n{entry.reason or 'no reason was given'}"
    return with_p(figure) if hasattr(figure, "p") else stacked(figure)


def _ratio_test(entry: LikelihoodRatioTest) -> str:
    if entry.chi2 is None:
        return f"not defined:\n{entry.reason or 'no reason was given'}"
    return (
        f"p\u00a0{p_value(entry.p_one_sided_corrected)}\n"
        f"uncorrected, two-sided p\u00a0{p_value(entry.p)}; "
        f"\u03c7\u00b2\u00a0=\u00a0{number(entry.chi2, 1)}, "
        f"df\u00a0{entry.df}; coefficient {number(entry.coefficient.value, 2)} "
        f"({interval(entry.coefficient, 2)})"
    )
