"""What the sub-commands of the command line do; `cli.py` imports each only when it is called."""
