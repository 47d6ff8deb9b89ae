"""Quality control: scores of each scan, judged by thresholds and compared with the cohort."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
