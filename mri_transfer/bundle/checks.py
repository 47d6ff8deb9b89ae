"""Checks: one scan held against an input contract, with what was found and what is expected."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from mri_transfer.bundle.density import FeatureDensity
from mri_transfer.bundle.measures import MEASURES, Measure, grey_distance

__all__ = ["Check", "InputFacts", "input_checks"]


Verdict: TypeAlias = Literal["pass", "fail", "none"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """One condition, and whether a scan meets it.

    Attributes
    ----------
    name, title : str
    verdict : {"pass", "fail", "none"}
        ``none``: it could not be checked; `found` says why.
    found, expected : str
        In words.
    meaning : str
        What a failure points to; empty where that is plain.
    """

    name: str
    title: str
    verdict: Verdict
    found: str
    expected: str
    meaning: str = ""

    @property
    def failed(self) -> bool:
        """Whether the scan is turned away."""
        return self.verdict == "fail"

    @property
    def reason(self) -> str:
        """The failure as one sentence."""
        hint = f" This points to {self.meaning}." if self.meaning else ""
        return f"{self.title}: found {self.found}; expected {self.expected}.{hint}"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class InputFacts:
    """What is known of a scan before it is scored.

    Attributes
    ----------
    passed_through : bool
    turn : str
    measures : mapping of str to float
    histogram : sequence of float
    mean : ndarray, shape (n_features,)
        Mean features over its slices.
    age_years : float or None
    """

    passed_through: bool
    turn: str
    measures: Mapping[str, float]
    histogram: Sequence[float]
    mean: npt.NDArray[np.floating[Any]]
    age_years: float | None = None


def input_checks(
    facts: Mapping[str, Any],
    density: FeatureDensity,
    histogram: npt.NDArray[np.float64],
    scan: InputFacts,
) -> tuple[Check, ...]:
    """Compare a scan with the training scans.

    Parameters
    ----------
    facts : mapping
        Of an `InputContract`.
    density : FeatureDensity
    histogram : ndarray of float64, shape (n_bins,)
        Mean of the training scans'.
    scan : InputFacts
    """
    measures = dict(scan.measures)
    if len(histogram) and len(scan.histogram):
        measures["grey_distance"] = grey_distance(scan.histogram, histogram)
    return (
        _space(facts, scan),
        _turn(facts, scan),
        *_measured(facts, measures),
        _age(facts, scan),
        _density(facts, density, scan),
    )


def _known(counts: Mapping[str, int], facts: Mapping[str, Any]) -> list[str]:
    """Return what enough training scans had, the commonest first."""
    least = facts["rare"] * facts["n_scans"]
    return [word for word in sorted(counts, key=lambda one: -counts[one]) if counts[word] > least]


def _listed(words: Sequence[str]) -> str:
    return " or ".join(words)


_SPACE_WORDS = {
    "True": "a brain that was prepared already, used as it came",
    "False": "a scan that is prepared here",
}


def _space(facts: Mapping[str, Any], scan: InputFacts) -> Check:
    known = _known(facts["passed_through"], facts)
    return Check(
        name="space",
        title="Preparation",
        verdict="pass" if str(scan.passed_through) in known else "fail",
        found=_SPACE_WORDS[str(scan.passed_through)],
        expected=_listed([_SPACE_WORDS[word] for word in known]) + ", like the training scans",
        meaning="another kind of file than the model was trained on: its figures do not hold for "
        "scans that were prepared in another way",
    )


def _turn(facts: Mapping[str, Any], scan: InputFacts) -> Check:
    known = _known(facts["turns"], facts)
    verdict: Verdict = "pass" if scan.turn in known else "fail"
    return Check(
        name="turn",
        title="How the head lies",
        verdict=verdict if scan.passed_through else "none",
        found=_turn_words(scan.turn) if scan.passed_through else "put right in preparation",
        expected=_listed([_turn_words(word) for word in known]) + ", like the training scans",
        meaning="a header that is wrong, or right where the training scans' was wrong",
    )


def _turn_words(turn: str) -> str:
    return turn or "as the header says"


def _measured(facts: Mapping[str, Any], measures: Mapping[str, float]) -> Iterator[Check]:
    for measure in MEASURES:
        known = facts["measures"].get(measure.name)
        if known is None:
            continue
        low, high = known["allowed"]
        value = measures.get(measure.name)
        # A measure that every training scan has and this one lacks counts as out of range.
        outside = (
            known["always"]
            if value is None
            else ((low is not None and value < low) or (high is not None and value > high))
        )
        yield Check(
            name=measure.name,
            title=measure.title,
            verdict="fail" if outside else "none" if value is None else "pass",
            found="not defined on this scan" if value is None else _number(measure, value),
            expected=_span(measure, low, high),
            meaning=measure.meaning,
        )


def _number(measure: Measure, value: float) -> str:
    unit = f" {measure.unit}" if measure.unit else ""
    return f"{value:.{measure.digits}f}{unit}"


def _span(measure: Measure, low: float | None, high: float | None) -> str:
    if low is None and high is not None:
        return f"at most {_number(measure, high)}"
    if high is None and low is not None:
        return f"at least {_number(measure, low)}"
    return f"{low:.{measure.digits}f} to {_number(measure, high or 0.0)}"


def _age(facts: Mapping[str, Any], scan: InputFacts) -> Check:
    known = facts["age_years"]
    age = scan.age_years
    verdict: Verdict = "none"
    found = "not told" if age is None else f"{age:g} years"
    if known is None:
        expected = "not known: the training patients' ages were not told"
    else:
        (low, high), (youngest, oldest) = known["allowed"], known["range"]
        expected = f"{low:g} to {high:g} years (training patients were {youngest:g} to {oldest:g})"
        if age is not None:
            verdict = "pass" if low <= age <= high else "fail"
    return Check(
        name="age",
        title="Age",
        verdict=verdict,
        found=found,
        expected=expected,
        meaning="a patient of an age that the model has not seen",
    )


def _density(facts: Mapping[str, Any], density: FeatureDensity, scan: InputFacts) -> Check:
    p = float(density.p_value(scan.mean[None])[0])
    limit = facts["density_p"]
    n = facts["n_patients"]
    return Check(
        name="density",
        title="Place among the training scans' features",
        verdict="fail" if p <= limit else "pass",
        found=f"p = {p:.3f}: {round(p * (n + 1)) - 1} of {n} training patients lie as far out",
        expected=f"p above {limit:.3f}",
        meaning="a scan or a brain unlike those of training, such as of another scanner, "
        "contrast or preparation",
    )
