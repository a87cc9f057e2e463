"""The keys of the database, in a dict; it can be away, slow, and it counts who asks."""

import threading
from datetime import UTC, datetime

from schemas.account import Scope
from schemas.ids import new_id
from workers.errors import StorageUnavailableError
from workers.storage.accounts.key_text import digest_of, new_key
from workers.storage.accounts.rows import StoredKey


class KeysInADict:
    def __init__(self) -> None:
        self.by_digest: dict[str, StoredKey] = {}
        self.is_away = False
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def add(self, *scopes: Scope, account: str = "default") -> str:
        """Make a key and return its text."""
        text = new_key()
        self.by_digest[digest_of(text)] = StoredKey(
            id=new_id("key"),
            account=account,
            name="a key",
            scopes=frozenset(scopes),
            created_at=datetime.now(UTC),
            revoked_at=None,
        )
        return text

    def revoke(self, text: str) -> None:
        del self.by_digest[digest_of(text)]

    def look_up(self, digest: str) -> StoredKey | None:
        self.asked += 1
        assert self.may_answer.wait(10)
        if self.is_away:
            raise StorageUnavailableError("the database: OperationalError")
        return self.by_digest.get(digest)
