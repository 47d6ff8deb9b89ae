"""Mappings of a source's columns and labels to those of a manifest."""
