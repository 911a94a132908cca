"""The container's processes: the supervisor, the gate on the public port, and MMS behind it."""
