#!/bin/bash
# qsub features.pbs.sh; then, when all tasks are done, the same command without --shard.
#PBS -N features
#PBS -J 1-20
#PBS -l select=1:ncpus=4:mem=12gb
#PBS -l walltime=08:00:00
cd "$PBS_O_WORKDIR" || exit 1
mri-transfer run --manifest cohort.csv --out run --cache /shared/cache \
  --until features --jobs 4 --shard "$PBS_ARRAY_INDEX/20"
code=$?
# 3: done, and some scans were excluded.
[ "$code" -eq 3 ] && exit 0
exit "$code"
