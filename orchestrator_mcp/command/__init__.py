"""What the commands of the command line do. `cli` has their options, and imports each module only when it is called.

Most are clients of `/api` like any other (`api`, `following`; shown by `board`, `tables`): `jobs`, `batches`, `farm`.
`serving` and `demo` run an orchestrator themselves. `doctor` looks at everything that one needs (`check_files`,
`check_backends`), and `adding`, `editing` and `mcp_config` change files that belong to people.
"""
