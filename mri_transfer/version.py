"""The version of this package, apart from its root, which imports what is above everything."""

__all__ = ["__version__"]

__version__ = "0.1.0"
