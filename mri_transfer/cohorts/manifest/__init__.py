"""The manifest: one row per scan, read, checked and written."""
