"""Settings of harmonisation."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.circular_covariates import refuse_circular
from mri_transfer.core.specs import STRICT
from mri_transfer.errors import ConfigurationError

__all__ = ["HarmonisationSpec"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HarmonisationSpec:
    """Whether and how differences between sites are taken out of the features."""

    kind: Literal["none", "combat"] = "none"
    """`combat`: fitted on the training patients of each fold. It needs the site of every patient,
    and can be applied to the sites it was fitted on alone."""
    site_column: str = "site"
    """Column that names the site; a scanner's name serves as well."""
    preserve: tuple[str, ...] = ("age", "sex")
    """Columns whose effect is kept; known of every patient, the label not among them."""

    @model_validator(mode="after")
    def _check(self) -> HarmonisationSpec:
        try:
            refuse_circular((*self.preserve, self.site_column))
        except ConfigurationError as error:
            raise ConfigurationError(
                "a column that the label is defined by cannot be kept, nor stand for the site",
                where="harmonisation",
                found=error.found,
                expected="columns known without the diagnosis, such as age and sex",
                remedy="Remove it: ComBat would need the diagnosis of a patient to score that "
                "patient, and in testing would be told the answer",
            ) from error
        if self.site_column in self.preserve or len(set(self.preserve)) < len(self.preserve):
            raise ConfigurationError(
                "the columns to keep must differ from each other and from the site's",
                where="harmonisation.preserve",
                found=", ".join((*self.preserve, self.site_column)),
            )
        return self
