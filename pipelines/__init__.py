"""Batch stages around the library: files in, one library call, files out."""
