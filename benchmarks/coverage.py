"""How often nominal 95 % intervals hold the truth, by simulation at the sizes we work with.

Scores are binormal: the latent score of a patient is normal with deviation 1, and positive
patients lie d higher, so that the AUC is Phi(d / sqrt 2). A repeat of the cross-validation is the
patient's score plus noise of its own; every repeat alone is binormal again. As a probability a
score is 1 / (1 + exp(d^2 / 2 - d * latent)), which is calibrated where half of the patients are
positive. Every truth is a closed form, an integral over the latent score, or a fit to it.

    python -m benchmarks.coverage [--simulations N] [--bootstraps N] [--repeat-correlation R]
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from benchmarks._common import Target, argument_parser, finish
from benchmarks._other_intervals import (
    clustered_wald,
    mean_loss,
    percentile_precision,
    profiled,
    wilson,
)
from mri_transfer.metrics.calibration import brier
from mri_transfer.metrics.calibration_slope import calibration_intercept, calibration_slope
from mri_transfer.metrics.delong import delong_auc, delong_difference
from mri_transfer.metrics.discrimination import bootstrap_auc
from mri_transfer.metrics.intervals import Estimate, normal_quantile, square_and_add
from mri_transfer.metrics.operating_point import confusion, rates
from mri_transfer.metrics.paired import bootstrap_difference
from mri_transfer.metrics.precision_recall import average_precision_interval
from mri_transfer.metrics.predictive_values import by_prevalence
from mri_transfer.metrics.t_intervals import logit_ends

__all__ = ["Scenario", "main", "simulate"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Interval = tuple[float | None, float | None]

N_REPEATS = 3
#: Correlation of a patient's latent scores from the two models compared, inside a label.
MODEL_CORRELATION = 0.5
#: By how much the second model's AUC is lower.
AUC_LOST = 0.06
PREVALENCE = 0.2
CONFIDENCE = 0.95
N_SAMPLES = 500
#: Curvature of the true log-odds over the logit of the score, in the bent calibration model.
BEND = 0.25

SIZES = (70, 30, 12)
AUCS = (0.70, 0.78, 0.90)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """Patients of each label, and the AUC of the first model.

    `repeat_correlation` is that of a patient's latent scores in two repeats, inside a label.
    """

    n_per_label: int
    auc: float
    repeat_correlation: float = 0.9

    @property
    def shift(self) -> float:
        """By how many deviations positive patients lie higher."""
        return math.sqrt(2.0) * float(norm.ppf(self.auc))

    @property
    def truths(self) -> dict[str, float]:
        """The value that each figure estimates."""
        d = self.shift
        rate = float(norm.cdf(d / 2.0))
        positive, negative = rate / (1.0 - rate), (1.0 - rate) / rate
        odds = PREVALENCE / (1.0 - PREVALENCE)
        return {
            "AUC": self.auc,
            "AUC difference": AUC_LOST,
            "average precision": _integral(
                lambda x: norm.sf(x - d) / (norm.sf(x - d) + norm.sf(x)) * norm.pdf(x - d)
            ),
            "sensitivity": rate,
            "balanced accuracy": rate,
            "PPV at 20 %": odds * positive / (odds * positive + 1.0),
            "NPV at 20 %": 1.0 / (odds * negative + 1.0),
            "Brier": _integral(
                lambda x: (
                    0.5 * norm.pdf(x) * expit(d * x - d * d / 2.0) ** 2
                    + 0.5 * norm.pdf(x - d) * expit(d * d / 2.0 - d * x) ** 2
                )
            ),
            "calibration intercept": 0.0,
            "calibration slope": 1.0,
            "calibration slope, bent": self.bent_slope,
        }

    @property
    def bent_slope(self) -> float:
        """Slope of the straight model that comes nearest to the bent one."""
        import statsmodels.api as sm

        grid = np.linspace(-8.0, 8.0, 4001) * self.shift
        model = sm.GLM(
            self.bent_chances(grid),
            sm.add_constant(grid),
            family=sm.families.Binomial(),
            freq_weights=norm.pdf(grid / self.shift),
        )
        return float(model.fit().params[1])

    def bent_chances(self, logits: FloatArray) -> FloatArray:
        """Return the chance of a positive label where the logit of the score is no log-odds."""
        return np.asarray(expit(logits + BEND * (logits**2 - self.shift**2)), dtype=np.float64)


def _integral(function: Callable[[float], float]) -> float:
    return float(quad(function, -10.0, 14.0, limit=200)[0])


class _Cohort(NamedTuple):
    labels: IntArray
    scores: FloatArray
    other: FloatArray


def simulate(
    scenario: Scenario, rng: np.random.Generator, *, labels: IntArray | None = None
) -> _Cohort:
    """Draw one cohort and the scores of two models, (n_repeats, n), as probabilities."""
    if labels is None:
        labels = np.repeat(np.array([0, 1]), scenario.n_per_label)
    n = len(labels)
    patient = rng.standard_normal(n)
    own = rng.standard_normal(n)
    alike = scenario.repeat_correlation
    related = math.sqrt(MODEL_CORRELATION / alike)
    others_patient = related * patient + math.sqrt(1.0 - related**2) * own
    shifts = (scenario.shift, Scenario(n_per_label=1, auc=scenario.auc - AUC_LOST).shift)
    made = []
    for shift, part in zip(shifts, (patient, others_patient), strict=True):
        noise = rng.standard_normal((N_REPEATS, n))
        latent = math.sqrt(alike) * part + math.sqrt(1.0 - alike) * noise
        made.append(expit(shift * (latent + shift * labels) - shift**2 / 2.0))
    return _Cohort(labels, made[0], made[1])


def _drawn_labels(n: int, rng: np.random.Generator) -> IntArray:
    """Draw labels as they come in a cohort that nobody balanced; two of each at the least."""
    while True:
        labels = rng.integers(2, size=n)
        if 2 <= labels.sum() <= n - 2:
            return labels


def _bent(scenario: Scenario, rng: np.random.Generator) -> _Cohort:
    """Draw one repeat of scores whose logits are no log-odds, and their labels."""
    while True:
        logits = scenario.shift * rng.standard_normal(2 * scenario.n_per_label)
        labels = (rng.random(len(logits)) < scenario.bent_chances(logits)).astype(np.int64)
        if 2 <= labels.sum() <= len(labels) - 2:
            return _Cohort(labels, expit(logits)[None, :], expit(logits)[None, :])


def _ends(estimate: Estimate) -> Interval:
    return estimate.ci_low, estimate.ci_high


def _analytic(scenario: Scenario, rng: np.random.Generator) -> dict[tuple[str, str], Interval]:
    """Intervals in closed form from one simulated cohort, by figure and method."""
    drawn = simulate(scenario, rng)
    area = delong_auc(drawn.labels, drawn.scores, confidence=CONFIDENCE)
    half = normal_quantile(CONFIDENCE) * math.sqrt(area.variance)
    value = float(area.estimate.value or 0.0)
    both = delong_difference(*drawn, confidence=CONFIDENCE)
    free = simulate(scenario, rng, labels=_drawn_labels(2 * scenario.n_per_label, rng))
    return {
        ("AUC", "DeLong, logit"): _ends(area.estimate),
        ("AUC", "(DeLong, logit, normal quantile)"): (
            logit_ends(value, half) if half else _ends(area.estimate)
        ),
        ("AUC", "(DeLong, plain)"): (value - half, value + half),
        ("AUC difference", "paired DeLong"): _ends(both),
        ("average precision", "jackknife, logit"): _ends(
            average_precision_interval(drawn.labels, drawn.scores, confidence=CONFIDENCE)
        ),
        **_at_threshold(drawn),
        ("Brier", "Welch's t, logit"): _ends(
            brier(drawn.labels, drawn.scores, confidence=CONFIDENCE)
        ),
        **_calibrated(drawn, "labels fixed"),
        **_calibrated(free, "labels drawn"),
        **_calibrated(_bent(scenario, rng), "bent"),
    }


def _at_threshold(cohort: _Cohort) -> dict[tuple[str, str], Interval]:
    """Intervals of what is called at one half, halfway between the two labels."""
    counts = confusion(cohort.labels, cohort.scores >= 0.5)
    figures = rates(counts, confidence=CONFIDENCE)
    halves = [
        wilson(right, right + wrong, confidence=CONFIDENCE)
        for right, wrong in ((counts.tp, counts.fn), (counts.tn, counts.fp))
    ]
    row = by_prevalence(counts, prevalences=(PREVALENCE,), confidence=CONFIDENCE)[0]
    # A likelihood ratio is covered as often as the predictive value that is made of it.
    return {
        ("sensitivity", "Clopper-Pearson"): _ends(figures["sensitivity"]),
        ("sensitivity", "(Wilson)"): _ends(halves[0]),
        ("balanced accuracy", "square-and-add"): _ends(figures["balanced_accuracy"]),
        ("balanced accuracy", "(square-and-add, Wilson)"): _ends(square_and_add(*halves)),
        ("PPV at 20 %", "Koopman"): (row["ppv"]["ci_low"], row["ppv"]["ci_high"]),
        ("NPV at 20 %", "Koopman"): (row["npv"]["ci_low"], row["npv"]["ci_high"]),
    }


def _calibrated(cohort: _Cohort, sampling: str) -> dict[tuple[str, str], Interval]:
    slope = calibration_slope(cohort.labels, cohort.scores, confidence=CONFIDENCE)
    wald: Interval = (None, None)
    if slope.value is not None:
        wald = clustered_wald(cohort.labels, cohort.scores, confidence=CONFIDENCE)
    if sampling == "bent":
        return {
            ("calibration slope, bent", "jackknife"): _ends(slope),
            ("calibration slope, bent", "(clustered Wald)"): wald,
        }
    intercept = calibration_intercept(cohort.labels, cohort.scores, confidence=CONFIDENCE)
    return {
        ("calibration intercept", f"jackknife, {sampling}"): _ends(intercept),
        ("calibration slope", f"jackknife, {sampling}"): _ends(slope),
        ("calibration slope", f"(clustered Wald, {sampling})"): wald,
    }


def _resampled(scenario: Scenario, rng: np.random.Generator) -> dict[tuple[str, str], Interval]:
    """Percentile bootstrap intervals from one simulated cohort, and profile likelihoods."""
    drawn = simulate(scenario, rng)
    settings: dict[str, Any] = {"n_samples": N_SAMPLES, "rng": rng, "confidence": CONFIDENCE}
    y, scores = drawn.labels, drawn.scores
    free = simulate(scenario, rng, labels=_drawn_labels(len(y), rng))
    return {
        ("AUC", "bootstrap"): _ends(bootstrap_auc(y, scores, **settings)),
        ("AUC difference", "bootstrap"): _ends(
            bootstrap_difference(y, scores, drawn.other, **settings)
        ),
        ("average precision", "(bootstrap)"): _ends(percentile_precision(y, scores, **settings)),
        ("Brier", "(bootstrap)"): _ends(mean_loss(y, scores, **settings)),
        ("calibration slope", "(profile likelihood, labels drawn)"): _profiled(free),
        ("calibration slope, bent", "(profile likelihood)"): _profiled(_bent(scenario, rng)),
    }


def _profiled(cohort: _Cohort) -> Interval:
    slope = calibration_slope(cohort.labels, cohort.scores, confidence=CONFIDENCE)
    return profiled(cohort.labels, cohort.scores, slope.value, confidence=CONFIDENCE)


@dataclasses.dataclass
class _Tally:
    """What a method did in one scenario."""

    runs: int = 0
    missing: int = 0
    covered: int = 0
    below: int = 0
    widths: list[float] = dataclasses.field(default_factory=list)

    def add(self, interval: Interval, truth: float) -> None:
        low, high = interval
        self.runs += 1
        if low is None or high is None:
            self.missing += 1
            return
        self.covered += low <= truth <= high
        self.below += high < truth
        if math.isfinite(high - low):
            self.widths.append(high - low)

    def as_dict(self) -> dict[str, Any]:
        given = self.runs - self.missing
        coverage = self.covered / given
        return {
            "simulations": self.runs,
            "coverage": coverage,
            "monte_carlo_error": math.sqrt(coverage * (1.0 - coverage) / given),
            "too_low": self.below / given,
            "mean_width": float(np.mean(self.widths)),
            "median_width": float(np.median(self.widths)),
            "without_interval": self.missing / self.runs,
        }


def _run(scenario: Scenario, *, simulations: int, bootstraps: int) -> list[dict[str, Any]]:
    """Return one row a figure and method."""
    truths = scenario.truths
    tallies: dict[tuple[str, str], _Tally] = {}
    place = [scenario.n_per_label, round(1000 * scenario.auc)]
    for number, (runs, function) in enumerate(((simulations, _analytic), (bootstraps, _resampled))):
        rng = np.random.default_rng([*place, number])
        for _ in range(runs):
            for key, interval in function(scenario, rng).items():
                tallies.setdefault(key, _Tally()).add(interval, truths[key[0]])
    return [
        {
            "figure": figure,
            "method": method,
            "n": 2 * scenario.n_per_label,
            "auc": scenario.auc,
            "truth": truths[figure],
            **tally.as_dict(),
        }
        for (figure, method), tally in tallies.items()
    ]


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table: one line a figure, method and n; coverage and median width for each AUC."""
    heads = [f"AUC {auc:.2f}" for auc in AUCS]
    lines = [
        f"| figure | method | n | {' | '.join(heads)} |",
        "|---|---|---|" + "---|" * len(heads),
    ]
    cells = {(r["figure"], r["method"], r["n"], r["auc"]): r for r in rows}
    order = list(Scenario(n_per_label=1, auc=0.7).truths)
    keys = sorted({key[:3] for key in cells}, key=lambda k: (order.index(k[0]), k[1], -k[2]))
    for key in keys:
        found = [_cell(cells[(*key, auc)]) for auc in AUCS]
        lines.append(f"| {key[0]} | {key[1]} | {key[2]} | {' | '.join(found)} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    mark = "" if 0.93 <= row["coverage"] <= 0.97 else " *"
    gap = f", none in {row['without_interval']:.1%}" if row["without_interval"] else ""
    return f"{row['coverage']:.1%}{mark} ({row['median_width']:.3g}{gap})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print the table and write the result."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("--simulations", type=int, default=2000, help="cohorts a scenario")
    parser.add_argument("--bootstraps", type=int, default=1000, help="of them, for slow methods")
    parser.add_argument(
        "--repeat-correlation",
        type=float,
        default=Scenario.repeat_correlation,
        help=f"of a patient's scores in two repeats, {MODEL_CORRELATION:g} or more",
    )
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    for n_per_label in SIZES:
        for area in AUCS:
            rows += _run(
                Scenario(
                    n_per_label=n_per_label,
                    auc=area,
                    repeat_correlation=options.repeat_correlation,
                ),
                simulations=options.simulations,
                bootstraps=options.bootstraps,
            )
    print("Coverage of nominal 95 % intervals (median width); * is outside 93 to 97 %.")
    print(f"Methods in parentheses are for comparison only.\n\n{_markdown(rows)}")
    print(f"\n{time.perf_counter() - start:.0f} s")
    finish("coverage", out=options.out, figures={"rows": rows}, targets=_targets(rows))


def _targets(rows: Sequence[dict[str, Any]]) -> list[Target]:
    """Return the least coverage of each method that the library uses, over all scenarios."""
    least: dict[str, float] = {}
    for row in rows:
        if row["method"].startswith("("):
            continue
        name = f"{row['figure']}, {row['method']}"
        least[name] = min(least.get(name, 1.0), row["coverage"])
    return [
        Target(name=f"least coverage of {name}", value=value, limit=0.93, at_least=True)
        for name, value in least.items()
    ]


if __name__ == "__main__":
    main()
