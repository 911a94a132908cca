"""What an instance runs: ``mme serve`` as a process, or an image in Docker."""
