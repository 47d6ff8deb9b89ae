"""Transfer learning for Alzheimer's MRI, evaluated by patient and audited for leakage."""

__all__ = ["__version__"]

__version__ = "0.1.0"
