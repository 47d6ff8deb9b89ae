#!/bin/bash
# qsub features.sge.sh; then, when all tasks are done, the same command without --shard.
#$ -N features
#$ -t 1-20
#$ -cwd
#$ -pe smp 4
#$ -l h_vmem=3G
#$ -l h_rt=08:00:00
mri-transfer run --manifest cohort.csv --out run --cache /shared/cache \
  --until features --jobs "$NSLOTS" --shard "$SGE_TASK_ID/$SGE_TASK_LAST"
code=$?
# 3: done, and some scans were excluded.
[ "$code" -eq 3 ] && exit 0
exit "$code"
