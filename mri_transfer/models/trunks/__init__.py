"""Trunks: networks trained on natural images, that turn slices into feature maps.

Names are imported when they are first used: those of settings need no torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
