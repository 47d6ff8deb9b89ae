"""The service: one bundle behind HTTP, one scan a request, nothing kept."""

from __future__ import annotations

from pipelines.serve.app import make_app
from pipelines.serve.limits import ServiceSpec, demand_token, read_token

__all__ = ["ServiceSpec", "demand_token", "make_app", "read_token"]
