"""What can go wrong with an environment that others serve, in words a user can act on."""


class ServedEnvironmentError(RuntimeError):
    """An environment that is served by OpenEnv cannot be played."""


class ServerGoneError(ServedEnvironmentError):
    """The server cannot be reached, has gone, or does not answer in time."""


class UnexpectedReplyError(ServedEnvironmentError):
    """The server answers otherwise than OpenEnv's protocol or the settings say."""


class RefusedError(ServedEnvironmentError):
    """The server answers with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        """OpenEnv's name for it, such as EXECUTION_ERROR."""

    @property
    def is_full(self) -> bool:
        """Whether the server has no session left."""
        return self.code == "CAPACITY_REACHED"


class NotDeterministicError(ServedEnvironmentError):
    """The same commands led elsewhere when they were played again."""
