"""The patients of the demo cohort, drawn before any scan is generated."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.synthetic.anatomy import Loads
from mri_transfer.core.specs import STRICT

__all__ = ["MEAN_AGE", "DemoPatient", "DemoSpec", "draw_patients", "planted_loads"]

#: Mean age of all patients, in years.
MEAN_AGE = 74.0

_AGE_SD, _AGE_RANGE = 7.0, (55.0, 95.0)
#: Load per site (ventricle, medial temporal, cortex) from age 60 to 90, and at severity 1.
_AGEING = np.array([0.50, 0.25, 0.45])
_DISEASE = np.array([0.85, 1.15, 0.85])


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DemoSpec:
    """Number, severity and imaging of the synthetic patients."""

    n_patients: int = Field(default=24, ge=4, le=10_000, multiple_of=2)
    """Number of patients; half are labelled AD, half CN."""
    seed: int = Field(default=2, ge=0)
    """Random seed; the same Spec gives the same bytes."""
    two_session_fraction: float = Field(default=0.25, ge=0, le=1)
    """Fraction of each label's patients who are scanned twice."""
    years_between_sessions: float = Field(default=2.0, gt=0, le=20)
    """Years from the first session to the second; ageing and disease progress in between."""
    disease_effect: float = Field(default=1.0, ge=0, le=3)
    """Scales the effect of AD on anatomy; 0 leaves nothing to learn but age."""
    ageing_effect: float = Field(default=1.0, ge=0, le=3)
    """Scales the effect of age on anatomy, for either label."""
    age_gap_years: float = Field(default=4.0, ge=0, le=20)
    """Difference in mean age between AD and CN patients; ages overlap."""
    individual_variation: float = Field(default=0.2, ge=0, le=1)
    """Standard deviation of each site's load between people of the same age and label."""
    shape_variation: float = Field(default=1.0, ge=0, le=2)
    """Scales head size, tilt and the individual shape of lobes and gyri."""
    noise: float = Field(default=0.03, ge=0, le=0.5)
    """Rician noise, as a fraction of the white matter signal."""
    bias: float = Field(default=0.08, ge=0, le=0.5)
    """Standard deviation of the logarithm of the smooth bias field."""
    contrast_variation: float = Field(default=0.02, ge=0, le=0.1)
    """Standard deviation of the tissues' mean signals between scans, and the sites' offset."""
    covariate_noise: float = Field(default=0.03, ge=0, le=0.1)
    """Measurement noise of the covariate `nwbv`."""
    spacing_mm: float = Field(default=2.0, ge=1, le=6)
    """Voxel size (isotropic)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoPatient:
    """One synthetic patient, before any scan is generated.

    Attributes
    ----------
    patient_id : str
        ``sub-001`` and so on; the order is independent of the label.
    label : str
        AD or CN.
    age : float
        Age in years, at the first session.
    sex, site : str
        F or M; A or B.
    severity : float
        0 for CN, 0.2 to 1 for AD.
    n_sessions : int
        1 or 2.
    seed : numpy.random.SeedSequence
        Used by this patient only.
    """

    patient_id: str
    label: str
    age: float
    sex: str
    site: str
    severity: float
    n_sessions: int
    seed: np.random.SeedSequence = dataclasses.field(repr=False)

    @property
    def scan_paths(self) -> tuple[str, ...]:
        """Paths of the scans relative to the cohort's folder, in order of sessions."""
        if self.n_sessions == 1:
            return (f"{self.patient_id}/anat/{self.patient_id}_T1w.nii.gz",)
        sessions = [f"ses-{number + 1:02d}" for number in range(self.n_sessions)]
        return tuple(
            f"{self.patient_id}/{session}/anat/{self.patient_id}_{session}_T1w.nii.gz"
            for session in sessions
        )


def draw_patients(spec: DemoSpec) -> tuple[DemoPatient, ...]:
    """Draw the patients of the cohort.

    Ages and severities are stratified draws (one in each quantile of a label's patients), so that
    a small cohort covers the range for any seed.

    Parameters
    ----------
    spec : DemoSpec

    Returns
    -------
    tuple of DemoPatient
    """
    from scipy.stats import norm

    cohort_seed, *patient_seeds = np.random.SeedSequence(spec.seed).spawn(spec.n_patients + 1)
    rng = np.random.default_rng(cohort_seed)
    half = spec.n_patients // 2
    places = rng.permutation(spec.n_patients)
    patients: dict[int, DemoPatient] = {}
    for label, sign, members in (("AD", 0.5, places[:half]), ("CN", -0.5, places[half:])):
        ages = MEAN_AGE + sign * spec.age_gap_years + _AGE_SD * norm.ppf(_stratified(rng, half))
        severities = 0.2 + 0.8 * _stratified(rng, half)
        twice = rng.permutation(half) < round(spec.two_session_fraction * half)
        sexes, sites = rng.permutation(half) % 2, rng.permutation(half) % 2
        for i, place in enumerate(members):
            patients[int(place)] = DemoPatient(
                patient_id=f"sub-{place + 1:03d}",
                label=label,
                age=float(np.clip(ages[i], *_AGE_RANGE)),
                sex="FM"[sexes[i]],
                site="AB"[sites[i]],
                severity=float(severities[i]) if label == "AD" else 0.0,
                n_sessions=2 if twice[i] else 1,
                seed=patient_seeds[place],
            )
    return tuple(patients[place] for place in sorted(patients))


def _stratified(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    """Draw n numbers from (0, 1), one in each of n equal intervals, in random order."""
    return (rng.permutation(n) + rng.uniform(0.01, 0.99, n)) / n


def planted_loads(
    spec: DemoSpec,
    *,
    age: float,
    severity: float,
    own: npt.NDArray[np.float64] | None = None,
    course: npt.NDArray[np.float64] | None = None,
) -> Loads:
    """Return the load of each planted change in a person.

    Parameters
    ----------
    spec : DemoSpec
    age : float
        Years.
    severity : float
        0 (healthy) to 1.
    own : ndarray of float64, shape (3,), optional
        Individual deviation from the average of the same age and severity: loads of ventricle,
        medial temporal lobe and cortex; by default 0.
    course : ndarray of float64, shape (3,), optional
        How strongly the disease affects each of the three; by default 1.

    Returns
    -------
    Loads
    """
    ageing = spec.ageing_effect * (age - 60) / 30 * _AGEING
    disease = spec.disease_effect * severity * _DISEASE * (1.0 if course is None else course)
    load = ageing + disease + (0.0 if own is None else own)
    ventricle, medial_temporal, cortex = (float(value) for value in np.clip(load, -0.4, 1.6))
    return Loads(ventricle=ventricle, medial_temporal=medial_temporal, cortex=cortex)
