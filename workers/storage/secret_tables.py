"""The tables of what is stored encrypted, and of the keys that it is encrypted under."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text

from workers.storage.tables import metadata

llm_entries: Final = Table(
    "llm_entries",
    metadata,
    Column("agent_id", String(64), primary_key=True),
    Column("entry", Integer, primary_key=True),
    Column("account", String(64), nullable=False),
    Column("base_url", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("api_key", LargeBinary, nullable=False),
    Column("probe_due_at", BigInteger, nullable=False, server_default="0"),
    Column("probe_lease", String(32)),
    Column("probe_result", Text),
    Index("llm_entries_by_probe", "probe_due_at"),
    Index("llm_entries_by_key", "key_id", "agent_id", "entry"),
)

tool_headers: Final = Table(
    "tool_headers",
    metadata,
    Column("agent_id", String(64), primary_key=True),
    Column("entry", Integer, primary_key=True),
    Column("account", String(64), nullable=False),
    Column("tool", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("value", LargeBinary, nullable=False),
    Index("tool_headers_by_key", "key_id", "agent_id", "entry"),
)

secret_keys: Final = Table(
    "secret_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("is_current", Boolean, nullable=False),
    Column("known_since", BigInteger, nullable=False),
)
