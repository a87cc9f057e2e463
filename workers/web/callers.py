"""Who a request comes from, and what that allows."""

from dataclasses import dataclass
from typing import Final

from schemas.account import DEFAULT_ACCOUNT, Scope
from workers.storage.accounts.rows import StoredKey


@dataclass(frozen=True)
class Caller:
    """The account of a key or token; `session_s` bounds the session that a token opens.

    The operator's own key has no id.
    """

    account: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    session_s: float | None = None

    def may(self, scope: Scope) -> bool:
        """Tell whether this caller may do what the scope stands for."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_operator(self) -> bool:
        """Whether this caller may see across accounts: an admin of the account `default`."""
        return self.account == DEFAULT_ACCOUNT and self.may("admin")


OPERATOR: Final = Caller(DEFAULT_ACCOUNT, frozenset({"admin"}))
"""Who has the key of the process's own settings."""


def caller_of(key: StoredKey) -> Caller:
    """Return who a stored key stands for."""
    return Caller(key.account, key.scopes, key.id)
