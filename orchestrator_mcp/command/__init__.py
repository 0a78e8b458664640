"""What the commands of the command line do. `cli` has their options, and imports each module only when it is called.

Most are clients of `/api` like any other; only `serving` and `demo` run an orchestrator themselves.
"""
