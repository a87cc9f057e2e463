"""The error tree of the server side. `code` and `retryable` belong to the class.

EdgewiseError
├── ConfigurationError      the operator must change a setting; the message says which
├── StorageUnavailableError    Redis or the database did not answer in time
│   └── DatabaseUnavailableError    it was the database
├── ModelError              the LLM failed; `code` is one of the failure classes
├── InvalidBaseUrlError     a model endpoint's URL is not written as it must be
├── BlockedAddressError     a model endpoint is not on the public internet, nor allowed
├── UnresolvedHostError     a model endpoint's name has no address
│   └── TemporarilyUnresolvedError    name servers do not say whether it has one
├── InvalidToolError        a tool's schema cannot be used
├── ToolError               a call of a tool failed; `answer` is what it said, if anything
├── KeysUnavailableError    keys for secrets are lost, wrong or open to others
├── CredentialsUnavailableError    a stored or sealed secret cannot be opened
│   └── SealedForAnotherKeyError    its private key is not here
├── TranscriptionError      the speech-to-text engine failed
└── SynthesisError          the text-to-speech engine failed
"""

from typing import ClassVar, Final

from schemas.chat import FailedTry

REFUSED: Final = (400, 422)
"""What endpoints of models say to fields that they do not know."""


class EdgewiseError(Exception):
    """Anything of ours that went wrong; the message is fit for a log, never holds a secret."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False


class ConfigurationError(EdgewiseError):
    """A setting is missing or wrong; the message names it and says how to mend it."""

    code: ClassVar[str] = "invalid_config"


class StorageUnavailableError(EdgewiseError):
    """Redis, the broker or the database did not answer in time."""

    code: ClassVar[str] = "unavailable"
    retryable: ClassVar[bool] = True


class DatabaseUnavailableError(StorageUnavailableError):
    """The database did not answer in time."""


class ModelError(EdgewiseError):
    """The LLM failed: `failure` is its class, `status_code` the HTTP status if there was one.

    `retry_after_s` is what the endpoint asked for by `Retry-After`, in seconds.
    """

    code: ClassVar[str] = "llm_failed"

    def __init__(
        self,
        failure: str,
        message: str,
        *,
        retryable: bool,
        status_code: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.can_retry = retryable
        self.status_code = status_code
        self.retry_after_s = retry_after_s
        self.tries = 0
        """How many requests it took to get here, where more than one model may answer."""
        self.failures: tuple[FailedTry, ...] = ()
        """The tries that came to nothing, this one last."""


class InvalidBaseUrlError(EdgewiseError):
    """A model endpoint's URL is not written as it must be; the message says which rule it broke."""

    code: ClassVar[str] = "invalid_value"


class BlockedAddressError(EdgewiseError):
    """A model endpoint is neither public nor allowed; the message never holds an address."""

    code: ClassVar[str] = "blocked_address"


class UnresolvedHostError(EdgewiseError):
    """A model endpoint's name has no address, or none was found in time."""

    code: ClassVar[str] = "unresolved_host"
    retryable: ClassVar[bool] = True


class TemporarilyUnresolvedError(UnresolvedHostError):
    """Name servers do not say in time whether a name has an address: it may well have one."""


class InvalidToolError(EdgewiseError):
    """A tool's schema cannot be used; the message says why."""

    code: ClassVar[str] = "invalid_value"


class ToolError(EdgewiseError):
    """A call of a tool failed; message and answer are fit for the model."""

    code: ClassVar[str] = "tool_failed"

    def __init__(self, message: str, answer: str = "") -> None:
        super().__init__(message)
        self.answer = answer


class KeysUnavailableError(EdgewiseError):
    """The keys for secrets are lost, wrong or open to others; the message says how to mend it."""

    code: ClassVar[str] = "keys_unavailable"


class CredentialsUnavailableError(EdgewiseError):
    """A stored or sealed secret cannot be opened; nothing of it is in the message."""

    code: ClassVar[str] = "credentials_unavailable"


class SealedForAnotherKeyError(CredentialsUnavailableError):
    """A secret was sealed for a pair whose private key is not here (any more, or yet)."""


class TranscriptionError(EdgewiseError):
    """The speech-to-text engine failed."""

    code: ClassVar[str] = "stt_failed"
    retryable: ClassVar[bool] = True


class SynthesisError(EdgewiseError):
    """The text-to-speech engine failed."""

    code: ClassVar[str] = "tts_failed"
    retryable: ClassVar[bool] = True
