"""The door of files: manifests dropped into the Inbox become jobs, and finished jobs become folders in the Outbox."""
