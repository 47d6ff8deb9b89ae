"""Where in the brain a score comes from: attribution maps, their checks, nearest patients."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
