"""The HTTP service: one bundle, one scan per request, nothing is kept."""

from __future__ import annotations

from pipelines.serve.app import make_app
from pipelines.serve.limits import ServiceSpec, demand_token, read_token

__all__ = ["ServiceSpec", "demand_token", "make_app", "read_token"]
