"""What a command ends with when the user must act."""


class CommandError(Exception):
    """One line to print on standard error, and the exit status: 2 for a mistake in the command."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status
