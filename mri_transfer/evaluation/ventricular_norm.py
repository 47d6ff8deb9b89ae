"""VentricularNorm: how large the ventricles of people without the positive label usually are.

What a radiologist asks of a scan with wide ventricles: are they wide for this age and sex? The
norm regresses the logarithm of the ventricles' share of the intracranial volume on age and sex
among people without the positive label. A percentile is that of Student's t at the distance from
the prediction, in standard errors of predicting one more person (Crawford and Howell 1998, Clin
Neuropsychol 12:482-486, for a single case against a small sample).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin

from mri_transfer.core.arrays import FloatArray, IntArray
from mri_transfer.scans.volumetry import BrainVolumes

__all__ = [
    "NormativePercentile",
    "VentricularNorm",
    "normative_design",
    "normative_people",
]

_VENTRICLES = "log of the share of ventricles"
#: A head without any central fluid has a logarithm too.
_LEAST_SHARE = 1e-5
#: A norm of fewer people is not worth being called one.
_FEWEST = 20


def normative_people(
    volumes: Sequence[BrainVolumes], patient_ids: Sequence[str], patients: pd.DataFrame
) -> pd.DataFrame | None:
    """Return what a norm is learnt from; None if age or sex is known of nobody.

    Parameters
    ----------
    volumes : sequence of BrainVolumes, length n_scans
    patient_ids : sequence of str, length n_scans
        Scans of one patient are averaged.
    patients : DataFrame
        Indexed by patient_id, with columns age (years) and sex if they are known.

    Returns
    -------
    DataFrame or None
        Indexed by patient_id: the logarithm of the ventricles' share, age (NaN where unknown) and
        sex (empty where unknown).
    """
    if not {"age", "sex"} <= set(patients):
        return None
    shares = pd.Series([one.ventricles for one in volumes], index=list(patient_ids))
    shares = shares.groupby(level=0).mean()
    known = patients.loc[shares.index]
    age = pd.to_numeric(known["age"], errors="coerce")
    sex = known["sex"].fillna("").astype(str).str.strip()
    if age.isna().all() or (sex == "").all():
        return None
    return pd.DataFrame({_VENTRICLES: _log_ventricles(shares), "age": age, "sex": sex})


class NormativePercentile(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The percentile of a measure among the negative label, for given covariates.

    The first column is regressed on the others among the patients with label 0, by least squares.
    A patient's percentile is that of Student's t at the distance from the prediction, in standard
    errors of predicting one more person, so that it holds its meaning for small groups and for
    covariates at their edge. Where a covariate is missing the group's mean takes its place. Of no
    more people than coefficients nothing is learnt: everybody is in the middle, which is where t
    tends to as its degrees of freedom vanish.
    """

    def fit(self, X: pd.DataFrame, y: IntArray) -> Self:  # noqa: N803
        """Learn from rows with label 0."""
        self.classes_ = np.array([0, 1])
        values = X.to_numpy(dtype=np.float64)[np.asarray(y) == 0]
        known = values[:, 1:]
        self.means_ = np.array([_mean_of_known(column) for column in known.T])
        design = self._design(known)
        self.degrees_ = len(values) - int(np.linalg.matrix_rank(design))
        self.coefficients_ = np.linalg.lstsq(design, values[:, 0], rcond=None)[0]
        residuals = values[:, 0] - design @ self.coefficients_
        self.deviation_ = float(np.sqrt((residuals**2).sum() / max(self.degrees_, 1)))
        self.inverse_ = np.linalg.pinv(design.T @ design)
        return self

    def predict_proba(self, X: pd.DataFrame) -> FloatArray:  # noqa: N803
        """Return 1 minus the percentile and the percentile, 0 to 1, shape (n_patients, 2)."""
        from scipy.stats import t

        values = X.to_numpy(dtype=np.float64)
        design = self._design(values[:, 1:])
        leverage = np.einsum("ij,jk,ik->i", design, self.inverse_, design)
        # Of a norm that was read from a file the leverage may be anything.
        error = np.maximum(self.deviation_ * np.sqrt(1 + np.maximum(leverage, 0)), 1e-12)
        distance = (values[:, 0] - design @ self.coefficients_) / error
        percentile = np.full(len(values), 0.5)
        if self.degrees_ > 0:
            percentile = np.asarray(t.cdf(distance, self.degrees_), dtype=np.float64)
        return np.column_stack([1 - percentile, percentile])

    def _design(self, covariates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        filled = np.where(np.isnan(covariates), self.means_, covariates)
        return np.column_stack([np.ones(len(filled)), filled - self.means_])


@dataclasses.dataclass(frozen=True, kw_only=True)
class VentricularNorm:
    """What is usual at an age and a sex, learnt from people without the positive label.

    Attributes
    ----------
    n_people : int
        Whose age and sex were known.
    age_years : tuple of float
        Lowest and highest age among them.
    sexes : tuple of str
        Those of two people or more.
    model : NormativePercentile
        Fitted.
    """

    n_people: int
    age_years: tuple[float, float]
    sexes: tuple[str, ...]
    model: NormativePercentile

    @classmethod
    def learn(cls, people: pd.DataFrame) -> VentricularNorm | None:
        """Learn from people without the positive label; None of fewer than 20.

        Parameters
        ----------
        people : DataFrame
            As `normative_people` returns it. Who lacks age or sex is left out, and so is the only
            one of a sex.
        """
        known = people[people["age"].notna() & (people["sex"] != "")]
        counts = known["sex"].value_counts()
        sexes = tuple(sorted(counts.index[counts > 1]))
        known = known[known["sex"].isin(sexes)]
        if len(known) < _FEWEST:
            return None
        design = normative_design(known, sexes)
        return cls(
            n_people=len(known),
            age_years=(float(known["age"].min()), float(known["age"].max())),
            sexes=sexes,
            model=NormativePercentile().fit(design, np.zeros(len(design), dtype=np.int64)),
        )

    def why_not(self, age_years: float | None, sex: str | None) -> str:
        """Return why there is no percentile at an age and a sex; empty if there is one."""
        if age_years is None or not sex:
            missing = [
                name for name, value in (("age", age_years), ("sex", sex)) if value in (None, "")
            ]
            return f"{' and '.join(missing)} not known"
        low, high = self.age_years
        if not low <= age_years <= high:
            return f"age {age_years:g} outside {low:g} to {high:g}, the ages of the norm"
        if sex not in self.sexes:
            return f"sex {sex!r} not in the norm, which knows {', '.join(self.sexes)}"
        return ""

    def percentile(self, volumes: BrainVolumes, *, age_years: float, sex: str) -> float:
        """Return the share of people of an age and a sex whose ventricles are smaller, 0 to 1.

        Parameters
        ----------
        volumes : BrainVolumes
        age_years : float
        sex : str
            Where `why_not` speaks against neither.
        """
        row = {_VENTRICLES: [float(_log_ventricles(volumes.ventricles))]}
        person = pd.DataFrame({**row, "age": [age_years], "sex": [sex]})
        return float(self.model.predict_proba(normative_design(person, self.sexes))[0, 1])

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "n_people": self.n_people,
            "age_years": list(self.age_years),
            "sexes": list(self.sexes),
            "means": self.model.means_.tolist(),
            "coefficients": self.model.coefficients_.tolist(),
            "deviation": self.model.deviation_,
            "degrees": self.model.degrees_,
            "inverse": self.model.inverse_.tolist(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VentricularNorm:
        """Return what `as_dict` made JSON of."""
        model = NormativePercentile()
        model.classes_ = np.array([0, 1])
        for name in ("means", "coefficients", "inverse"):
            setattr(model, f"{name}_", np.array(values[name], dtype=np.float64))
        model.deviation_, model.degrees_ = float(values["deviation"]), int(values["degrees"])
        low, high = values["age_years"]
        return cls(
            n_people=int(values["n_people"]),
            age_years=(float(low), float(high)),
            sexes=tuple(values["sexes"]),
            model=model,
        )


def normative_design(people: pd.DataFrame, sexes: Sequence[str]) -> pd.DataFrame:
    """Return ventricles, age and an indicator of every sex but the first, NaN where unknown."""
    sex = people["sex"]
    indicators = {
        # One sex is told by the others.
        f"sex {name}": (sex == name).astype(np.float64).where(sex != "")
        for name in sexes[1:]
    }
    return people[[_VENTRICLES, "age"]].assign(**indicators)


def _mean_of_known(column: npt.NDArray[np.float64]) -> float:
    known = column[~np.isnan(column)]
    return float(known.mean()) if len(known) else 0.0


def _log_ventricles(share: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(share, _LEAST_SHARE)), dtype=np.float64)
