"""The door of files: manifests dropped into the Inbox become jobs, and finished jobs become folders in the Outbox.

In: `inbox` runs the rounds; `scanner` looks at files by the `rules`, asks `leases` who still writes, and claims what is
whole (`claims`); `reading` makes a manifest of it, and `submitting` hands it to the service.
Out: `outbox` runs two lines of `delivering`, one for jobs (`results`) and one for batches (`batch_results`), and puts
the manifest away that the work came from.
"""
