"""Reads the t1-linear images that Clinica leaves in a CAPS folder."""
