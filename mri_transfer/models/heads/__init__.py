"""Heads: small classifiers on features of slices, trained inside folds; two modules a head.

Names are imported when they are first used: those of settings need no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
