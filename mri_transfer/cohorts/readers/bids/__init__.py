"""Reads a BIDS data set."""
