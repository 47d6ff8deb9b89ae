"""Pure functions of one scan: volumes, preparation, quality and slices."""
