"""Training domains: the patients of one site, scanner or preparation, and what their set learns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mri_transfer.cohorts.covariates import covariate_levels, covariate_numbers
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.adaptation.domains import DomainPatients, age_bands
from mri_transfer.models.adaptation.settings import DomainSpec
from mri_transfer.training.dataset import LabelledFeatures

__all__ = ["domains_of"]


def domains_of(
    cohort: LabelledFeatures,
    patients: pd.DataFrame,
    domain: Mapping[str, str],
    *,
    spec: DomainSpec,
) -> dict[str, DomainPatients]:
    """Part a cohort into its domains; targets are label, age band and sex.

    Parameters
    ----------
    cohort : LabelledFeatures
        With activations.
    patients : DataFrame
        Indexed by patient_id; `age` and `sex` are used where they are known.
    domain : mapping of str to str
        Of every patient.
    spec : DomainSpec

    Raises
    ------
    ConfigurationError
        If what lies at the cut is not known.
    """
    if cohort.activations is None:
        raise ConfigurationError(
            "FiLM sets need what lies at the cut", expected="features with activations"
        )
    own = patients.loc[list(cohort.patient_ids)]
    bands = age_bands(covariate_numbers(own, "age").tolist(), spec.age_bands)
    sexes = [{"F": 0, "M": 1}.get(sex, -1) for sex in covariate_levels(own, "sex")]
    age_of = dict(zip(cohort.patient_ids, bands.tolist(), strict=True))
    sex_of = dict(zip(cohort.patient_ids, sexes, strict=True))
    found = {}
    for name in sorted(set(domain.values())):
        part = cohort.only([one for one in cohort.patient_ids if domain[one] == name])
        owners = part.scans.patient_ids
        assert part.activations is not None
        found[name] = DomainPatients(
            activations=part.activations,
            targets=np.stack(
                [
                    part.scan_is_positive,
                    np.array([age_of[one] for one in owners], dtype=np.int64),
                    np.array([sex_of[one] for one in owners], dtype=np.int64),
                ],
                axis=1,
            ),
            n_slices=part.scans.features.shape[1],
        )
    return found
