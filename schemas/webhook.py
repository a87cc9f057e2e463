"""Webhooks: what a source sends to us, and what we send to the endpoints of others.

Both are `{type, timestamp, data}`, as Standard Webhooks has it.
"""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter, model_validator

from schemas.agent import AgentCreate, ApiKey, BaseUrl, ModelName
from schemas.closed import Closed
from schemas.ids import AgentId, agent_id_of
from schemas.text import ExternalId

Scheme = Literal["standard", "github", "stripe"]
"""How a source signs: Standard Webhooks, `X-Hub-Signature-256`, or `Stripe-Signature`."""

SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
WebhookId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,256}$")]
"""What a sender calls one webhook, the same each time it sends it."""


class _Named(Closed):
    """Which agent: by its id, or by its owner's own name for it."""

    id: AgentId | None = None
    external_id: ExternalId | None = None

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.id is None) == (self.external_id is None):
            raise ValueError("name the agent by id or by external_id, and not by both")
        return self

    def agent_id(self, account: str) -> str:
        """Return the id of the agent of this account."""
        return self.id or agent_id_of(account, self.external_id or "")


class UpsertData(AgentCreate, _Named):
    """A whole agent; what is omitted takes its default; `llm` and `tools` are kept.

    By `external_id` it is made where it is not there yet; by `id` it must be.
    """


class DeleteData(_Named):
    """Which agent goes."""


class RotateData(_Named):
    """A new key for an LLM entry that is there; `base_url` and `model` say for which one."""

    api_key: ApiKey
    base_url: BaseUrl | None = None
    model: ModelName | None = None

    @model_validator(mode="after")
    def _names_an_endpoint(self) -> Self:
        if self.model is not None and self.base_url is None:
            raise ValueError("`model` says which of those with a `base_url`: name that, too")
        return self


class _Event(Closed):
    id: WebhookId | None = None
    """What Stripe's scheme calls the webhook; the other schemes have it in a header."""
    timestamp: AwareDatetime
    """When it came about at the sender."""


class UpsertEvent(_Event):
    """Store this agent, in place of what is there or, by `external_id`, new."""

    type: Literal["agent.upsert"]
    data: UpsertData


class DeleteEvent(_Event):
    """Remove an agent and its keys."""

    type: Literal["agent.delete"]
    data: DeleteData


class RotateEvent(_Event):
    """Replace the key of an LLM entry."""

    type: Literal["agent.llm.rotate"]
    data: RotateData


SourceEvent = UpsertEvent | DeleteEvent | RotateEvent
read_source_event: Final = TypeAdapter[SourceEvent](
    Annotated[SourceEvent, Field(discriminator="type")]
).validate_json
"""Reads a webhook's body; raises pydantic.ValidationError."""


MessageType = Literal[
    "config_event.applied", "config_event.rejected", "config_event.dead", "session.ended"
]
MESSAGE_TYPES: Final[tuple[MessageType, ...]] = (
    "config_event.applied",
    "config_event.rejected",
    "config_event.dead",
    "session.ended",
)


class Message(Closed):
    """What we send to an endpoint; there is no secret in it."""

    type: MessageType
    timestamp: datetime
    data: dict[str, Any]
