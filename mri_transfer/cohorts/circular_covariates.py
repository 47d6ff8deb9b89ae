"""Refuse covariates that define a diagnosis of dementia."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mri_transfer.errors import ConfigurationError

__all__ = ["is_circular", "refuse_circular"]


#: Instruments and fields that define a diagnosis of dementia, letters and digits only. A covariate
#: whose name starts with one of them (or equals one of `_WHOLE`) is refused.
_CIRCULAR = (
    "mmse", "mmscore", "minimental", "cdr", "clinicaldementiarating", "moca", "montrealcognitive",
    "adas", "dx", "diag", "alzheimer", "demented", "cognitivestatus", "clinicalstatus", "label",
)  # fmt: skip


_WHOLE = frozenset({"group", "class", "target", "outcome", "status", "dementia", "converter"})


def refuse_circular(covariates: Iterable[str]) -> None:
    """Refuse covariates that define the diagnosis.

    Raises
    ------
    ConfigurationError
        If a name is that of the label, or of an instrument that defines it (MMSE, CDR, MoCA,
        ADAS, a diagnosis).
    """
    circular = [name for name in covariates if is_circular(name)]
    if circular:
        raise ConfigurationError(
            "a covariate that defines the label cannot be a baseline",
            found=", ".join(circular),
            expected="covariates independent of the diagnosis, such as age or a brain volume",
            remedy="Remove it: scores such as MMSE and CDR are part of the reference standard, so "
            "predicting the label from them is circular",
        )


def is_circular(name: str) -> bool:
    """Return whether a covariate's name is that of the label or of what defines it."""
    parts = [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
    joined = "".join(parts)
    starts = [*parts, joined]
    return joined in _WHOLE or any(start.startswith(_CIRCULAR) for start in starts)
