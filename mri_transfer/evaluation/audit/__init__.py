"""Audit: whether the evaluation leaks, scans are duplicated, the model takes shortcuts."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
