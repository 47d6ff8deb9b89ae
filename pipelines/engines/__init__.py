"""Where work on single scans and fits is done: on this machine, by SLURM jobs or Dask workers.

Results lie in the cache, which all machines share; what travels are settings, paths and keys.
"""
