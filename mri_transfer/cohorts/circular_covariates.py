"""Refuses covariates that a diagnosis of dementia is made from."""

from __future__ import annotations

import re
from collections.abc import Iterable

from mri_transfer.errors import ConfigurationError

__all__ = ["is_circular", "refuse_circular"]


#: Names of instruments and fields from which a diagnosis of dementia is made, without blanks and
#: signs. A covariate whose name starts with one of them (or is one, in `_WHOLE`) is refused.
_CIRCULAR = (
    "mmse", "mmscore", "minimental", "cdr", "clinicaldementiarating", "moca", "montrealcognitive",
    "adas", "dx", "diag", "alzheimer", "demented", "cognitivestatus", "clinicalstatus", "label",
)  # fmt: skip


_WHOLE = frozenset({"group", "class", "target", "outcome", "status", "dementia", "converter"})


def refuse_circular(covariates: Iterable[str]) -> None:
    """Refuse covariates that the diagnosis itself is made from.

    Raises
    ------
    ConfigurationError
        If a name is that of the label, or of an instrument that defines it (MMSE, CDR, MoCA,
        ADAS, a diagnosis).
    """
    circular = [name for name in covariates if is_circular(name)]
    if circular:
        raise ConfigurationError(
            "a covariate that the label is defined by cannot be a baseline",
            found=", ".join(circular),
            expected="covariates known without the diagnosis, such as age or a brain volume",
            remedy="Remove it: scores like MMSE and CDR are part of the reference standard, so "
            "that predicting the label from them is circular and beats any image",
        )


def is_circular(name: str) -> bool:
    """Return whether a covariate is named like the label, or like what defines it."""
    parts = [part for part in re.split(r"[^a-z0-9]+", name.lower()) if part]
    joined = "".join(parts)
    starts = [*parts, joined]
    return joined in _WHOLE or any(start.startswith(_CIRCULAR) for start in starts)
