"""What keeps the house in order while it works: a changed config.yaml, old jobs, full disks, backups."""
