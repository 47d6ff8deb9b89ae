"""Reads a folder of DICOM series, and converts them."""
