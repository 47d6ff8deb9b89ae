"""Foundations: files, specs, the content-addressed store, tensors, threads."""
