// nextflow run features.nf --manifest /shared/cohort.csv --out /shared/run --cache /shared/cache --parts 20
params.parts = 20

process features {
    cpus 4
    memory '12 GB'
    errorStrategy 'retry'
    maxRetries 2

    input:
    val part

    output:
    val part

    script:
    // Exit code 3: done, and some scans were excluded.
    """
    mri-transfer run --manifest ${params.manifest} --out ${params.out} --cache ${params.cache} \
      --until features --jobs ${task.cpus} --shard ${part}/${params.parts} || [ \$? -eq 3 ]
    """
}

process report {
    cpus 8
    memory '16 GB'

    input:
    val parts

    script:
    """
    mri-transfer run --manifest ${params.manifest} --out ${params.out} --cache ${params.cache} \
      --jobs ${task.cpus} || [ \$? -eq 3 ]
    """
}

workflow {
    features(Channel.of(1..params.parts)).collect() | report
}
