"""The tables of accounts and of their API keys, as the code sees them."""

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table

from workers.storage.tables import metadata

accounts: Final = Table(
    "accounts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("created_at", BigInteger, nullable=False),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("account", String(64), ForeignKey("accounts.name"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index("api_keys_by_digest", "digest", unique=True),
    Index("api_keys_by_account", "account", "created_at"),
)
