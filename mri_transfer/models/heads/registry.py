"""The kinds of heads that there are."""

from __future__ import annotations

from typing import Literal

from mri_transfer.models.heads.attention import ATTENTION
from mri_transfer.models.heads.entry import Aggregation, HeadEntry
from mri_transfer.models.heads.linear import LINEAR
from mri_transfer.models.heads.mlp import MLP

__all__ = ["HEADS", "HEAD_KINDS", "resolve_aggregation"]

#: Every kind of head. Another one needs an entry here, and its Spec in `settings`.
HEADS: dict[str, HeadEntry] = {"linear": LINEAR, "mlp": MLP, "attention": ATTENTION}

#: Values of a head's `kind`.
HEAD_KINDS = tuple(HEADS)


def resolve_aggregation(aggregation: Aggregation | Literal["auto"], head_kind: str) -> Aggregation:
    """Return the aggregation, with `auto` replaced by the head's own."""
    return HEADS[head_kind].aggregation if aggregation == "auto" else aggregation
