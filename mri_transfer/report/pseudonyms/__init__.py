"""Pseudonyms: reports without the names of patients and files."""
