"""What a secret belongs to: it opens there and nowhere else."""

import json
from dataclasses import dataclass
from typing import Final

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))
"""Made once: `json.dumps` makes one for each call, at twice the cost of the call."""


@dataclass(frozen=True)
class Binding:
    """The place of one secret value; every part is bound into its ciphertext."""

    account: str
    agent_id: str
    entry: int | None
    """Which of its kind, from 0; None: found by the other parts when it is put in place."""
    endpoint: str
    """The `base_url` that the value was given for: it is sent to no other."""
    field: str = "api_key"

    def encoded(self) -> bytes:
        """Return the place as bytes; two places never have the same."""
        parts = [self.account, self.agent_id, self.entry, self.field, self.endpoint]
        return _ENCODER.encode(parts).encode("ascii")
