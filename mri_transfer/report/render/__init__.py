"""Writes the tree of a report as a page, as print, as Markdown and as JSON."""
