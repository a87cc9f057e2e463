"""Who may do what: the names of accounts, the scopes of keys."""

from typing import Annotated, Final, Literal

from pydantic import StringConstraints

Scope = Literal["admin", "configure", "talk", "llm"]
"""What a key is for: `admin` includes the others."""

SCOPES: Final[tuple[Scope, ...]] = ("admin", "configure", "talk", "llm")
DEFAULT_ACCOUNT: Final = "default"
"""The account of the operator's own key; it is always there."""

AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
KeyName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^key_[0-9a-f]{32}$")]
