"""The report of a run and its quality pages: what they show, and the pages made of it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
