"""Reads the discs of OASIS-1."""
