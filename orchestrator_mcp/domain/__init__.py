"""What things are and what is decided about them: values and pure functions, without I/O and without a clock.

A job and its way: `manifests`, `batches`, `chains`, `jobs`, `steps`, `transitions`, `retry`, `events`, `deliveries`.
Who gets what: `placement` chooses among the lanes and backends of a `situation` (`backlog`, `turns`, `shares`,
`limits`, `deadlines`, `prospects`), by what `experience` has learned (`speeds`, `estimates`, `blocklist`).
What callers see: `views`, `batch_views`, `dry_runs`, `eta`.
"""
