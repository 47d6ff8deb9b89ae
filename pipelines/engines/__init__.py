"""Where the work on single scans is done: on this machine, in SLURM jobs or on Dask workers.

Results lie in the cache, which all machines share; what travels are settings, paths and keys.
"""
