"""Learning an InputContract, and the share of similar patients that it would refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mri_transfer.bundle.checks import InputFacts, input_checks
from mri_transfer.bundle.contract import ContractSpec, InputContract, TrainingScan
from mri_transfer.bundle.density import FOLDS, compressed, learn_density
from mri_transfer.bundle.measures import MEASURES, Measure, grey_distance
from mri_transfer.metrics.intervals import exact_proportion

__all__ = ["learn_contract"]

#: How far beyond the training scans a number may lie, as a share of the distance between their
#: 5th and 95th percentile: the first that refuses few enough patients.
_WIDENINGS = (0.5, 1.0, 2.0, 4.0)
#: An orientation or a kind of preparation that fewer training scans had counts as unknown.
_RARE = 0.02
#: Years beyond the youngest and the oldest training patient.
_AGE_MARGIN_YEARS = 3.0

FloatArray = npt.NDArray[np.floating[Any]]


def learn_contract(
    scans: Sequence[TrainingScan],
    ages: Mapping[str, float | None],
    means: FloatArray,
    *,
    slice_means: npt.NDArray[np.float32],
    spec: ContractSpec | None = None,
) -> InputContract:
    """Learn the contract from training scans, and how often similar patients would be refused.

    Parameters
    ----------
    scans : sequence of TrainingScan
    ages : mapping of str to float or None
        Of each patient, in years.
    means : ndarray, shape (n_patients, n_features)
        Mean features over a patient's slices, patients sorted by their id.
    slice_means : ndarray of float32, shape (n_slices, n_features)
        Mean features of each slice over all scans.
    spec : ContractSpec, optional
    """
    spec = spec or ContractSpec()
    patients = sorted(ages)
    rows = compressed(means)
    # A histogram and the density do not depend on how far ranges are widened.
    parts = [_Part(spec, scans, ages, rows, patients, k) for k in range(min(FOLDS, len(patients)))]
    for widening in _WIDENINGS:
        failed = {name: found for part in parts for name, found in part.failures(widening)}
        turned_away = sum(bool(found) for found in failed.values())
        if turned_away <= spec.abstain_at_most * len(patients):
            break
    share = exact_proportion(turned_away, len(patients))
    by_check = [name for found in failed.values() for name in found]
    facts = {
        **_facts(spec, scans, ages, widening),
        "in_distribution": {
            "n": len(patients),
            "n_turned_away": turned_away,
            "share": share.value,
            "ci_low": share.ci_low,
            "ci_high": share.ci_high,
            "method": f"{len(parts)}-fold cross-validation of the contract; {share.method}",
            "by_check": {name: by_check.count(name) for name in sorted(set(by_check))},
        },
    }
    return InputContract(
        facts=facts,
        density=learn_density(means),
        histogram=_mean_histogram(scans),
        slice_means=np.asarray(slice_means, dtype=np.float32),
    )


class _Part:
    """Training patients that are held out together, and what the others teach."""

    def __init__(
        self,
        spec: ContractSpec,
        scans: Sequence[TrainingScan],
        ages: Mapping[str, float | None],
        rows: npt.NDArray[np.float64],
        patients: Sequence[str],
        k: int,
    ) -> None:
        out = np.arange(len(patients)) % min(FOLDS, len(patients)) == k
        self.place = {name: i for i, name in enumerate(patients) if out[i]}
        self.spec, self.ages, self.rows = spec, ages, rows
        self.scans = [scan for scan in scans if scan.patient_id in self.place]
        self.others = [scan for scan in scans if scan.patient_id not in self.place]
        self.density = learn_density(rows[~out])
        self.histogram = _mean_histogram(self.others)

    def failures(self, widening: float) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield each held-out patient and the checks that the patient fails."""
        others = {name: age for name, age in self.ages.items() if name not in self.place}
        facts = _facts(self.spec, self.others, others, widening)
        for name, row in self.place.items():
            own = [scan for scan in self.scans if scan.patient_id == name]
            checks = [
                check
                for scan in own
                for check in input_checks(
                    facts,
                    self.density,
                    self.histogram,
                    InputFacts(
                        passed_through=scan.passed_through,
                        turn=scan.turn,
                        measures=scan.measures,
                        histogram=scan.histogram,
                        mean=self.rows[row],
                        age_years=self.ages[name],
                    ),
                )
            ]
            yield name, frozenset(check.name for check in checks if check.failed)


def _facts(
    spec: ContractSpec,
    scans: Sequence[TrainingScan],
    ages: Mapping[str, float | None],
    widening: float,
) -> dict[str, Any]:
    known = [age for age in ages.values() if age is not None]
    # Beyond all training patients is out of range, however few they are.
    lowest_p = 1 / (len(ages) + 1)
    return {
        "n_patients": len(ages),
        "n_scans": len(scans),
        "passed_through": _counts([scan.passed_through for scan in scans]),
        "turns": _counts([scan.turn for scan in scans]),
        "rare": _RARE,
        "measures": {
            measure.name: found
            for measure in MEASURES
            if (found := _allowed(measure, scans, widening)) is not None
        },
        "age_years": None
        if not known
        else {
            "range": [min(known), max(known)],
            "allowed": [min(known) - _AGE_MARGIN_YEARS, max(known) + _AGE_MARGIN_YEARS],
            "n": len(known),
            "n_missing": len(ages) - len(known),
        },
        "density_p": max(spec.density_p, lowest_p),
        "widening": widening,
    }


def _counts(values: Sequence[object]) -> dict[str, int]:
    words = sorted(str(value) for value in values)
    return {word: words.count(word) for word in dict.fromkeys(words)}


def _allowed(
    measure: Measure, scans: Sequence[TrainingScan], widening: float
) -> dict[str, Any] | None:
    """Return the range of training scans, and how far beyond it a scan may lie."""
    if measure.name == "grey_distance":
        middle = _mean_histogram(scans)
        values = [grey_distance(scan.histogram, middle) for scan in scans if scan.histogram]
    else:
        values = [scan.measures[measure.name] for scan in scans if measure.name in scan.measures]
    if not values:
        return None
    low, high = min(values), max(values)
    spread = float(np.subtract(*np.percentile(values, (95, 5))))
    margin = max(measure.margin, widening * spread)
    allowed = [low - margin, high + margin]
    return {
        "always": len(values) == len(scans),
        "range": [float(f"{value:.6g}") for value in (low, high)],
        "allowed": [
            None if measure.side == "high" else float(f"{allowed[0]:.6g}"),
            None if measure.side == "low" else float(f"{allowed[1]:.6g}"),
        ],
    }


def _mean_histogram(scans: Sequence[TrainingScan]) -> npt.NDArray[np.float64]:
    known = [scan.histogram for scan in scans if scan.histogram]
    return np.mean(known, axis=0) if known else np.zeros(0)
