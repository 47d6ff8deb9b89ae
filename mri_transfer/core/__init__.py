"""What every part stands on: files, specs, the content-addressed store, tensors, threads."""
