"""The place of each kind of secret value."""

from workers.secrets.binding import Binding
from workers.storage.agents.llm_rows import StoredEntry
from workers.storage.agents.tool_rows import StoredHeader


def place_of_key(entry: StoredEntry) -> Binding:
    """Return the place of the key of an LLM entry."""
    return Binding(entry.account, entry.agent_id, entry.entry, entry.base_url)


def place_of_header(header: StoredHeader) -> Binding:
    """Return the place of the value of a tool's header."""
    return header_place(
        header.account, header.agent_id, header.entry, (header.tool, header.url), header.name
    )


def header_place(
    account: str, agent_id: str, entry: int, tool: tuple[str, str], name: str
) -> Binding:
    """Return the place of the `entry`th header of an agent's tools; `tool` is name and URL."""
    return Binding(account, agent_id, entry, tool[1], f"tools.{tool[0]}.http.headers.{name}")


def renewed_key_place(
    account: str, agent_id: str, base_url: str | None, model: str | None
) -> Binding:
    """Return the place of a new key for an LLM entry that is there, before it is known which.

    `base_url` and `model` are what its sender named the entry by; None: by nothing. It is no
    place of a stored key, so neither kind of sealed value opens as the other.
    """
    field = "llm.rotate" if model is None else f"llm.rotate.{model}"
    return Binding(account, agent_id, None, base_url or "", field)
