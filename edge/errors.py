"""The error tree of the device. Each message says what is wrong and what to do next.

DeviceError
├── BadInputError           a file or an option that the user must change
├── SoundError              PortAudio is missing, or a microphone or speaker cannot be opened
├── RefusedError            the server answered, and said no; trying again will not help
├── BusyError               the server is full; `retry_after_s` is how long it asked us to wait
├── UnreachableError        nothing answers at the server's address
└── ConnectionLostError     the session was up and the server fell silent
"""

from typing import ClassVar


class DeviceError(Exception):
    """Anything of ours that went wrong; the message is fit for the user, never holds a secret."""

    code: ClassVar[str] = "device_error"
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 2


class BadInputError(DeviceError):
    """A file or an option is wrong; the message names it."""

    code: ClassVar[str] = "bad_input"


class SoundError(DeviceError):
    """A microphone or a speaker cannot be used."""

    code: ClassVar[str] = "no_sound"


class RefusedError(DeviceError):
    """The server answered and refused; `server_code` is its word for why."""

    code: ClassVar[str] = "refused"
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, server_code: str = "refused") -> None:
        super().__init__(message)
        self.server_code = server_code


class BusyError(DeviceError):
    """The server has no room now."""

    code: ClassVar[str] = "at_capacity"
    retryable: ClassVar[bool] = True
    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnreachableError(DeviceError):
    """Nothing that speaks our protocol answers at the server's address."""

    code: ClassVar[str] = "unreachable"
    retryable: ClassVar[bool] = True
    exit_code: ClassVar[int] = 3


class ConnectionLostError(DeviceError):
    """The session was up and then nothing came from the server any more."""

    code: ClassVar[str] = "connection_lost"
    retryable: ClassVar[bool] = True
    exit_code: ClassVar[int] = 3
