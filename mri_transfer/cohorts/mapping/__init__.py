"""Mappings: how the columns and labels of a source become those of a manifest."""
