"""A change as another program puts it on the queue `config`, in a task named `config.change`.

The one argument of the task is `message`, this as JSON. Keys of models come sealed.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, TypeAdapter, model_validator

from schemas.account import AccountName
from schemas.agent import MAX_ENTRIES, AgentFields, ChangedFields, ExternalId
from schemas.closed import Closed
from schemas.ids import AgentId, agent_id_of

MESSAGE_TASK: Final = "config.change"
MAX_SEALED: Final = 2_048

MessageId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
"""Its sender's name for a message: it takes effect once, however often it is sent."""


class SealedEntry(Closed):
    """A model of the owner's own, its key sealed for this account, agent, place and `base_url`."""

    base_url: Annotated[str, StringConstraints(min_length=1, max_length=2_048)]
    """In its normal form: lower case, no usual port, no slash at the end."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    sealed_api_key: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SEALED)]


SealedLlm = Annotated[tuple[SealedEntry, ...], Field(max_length=MAX_ENTRIES)]


class _Message(Closed):
    version: Literal[1] = 1
    id: MessageId
    account: AccountName
    agent_id: AgentId | None = None
    external_id: ExternalId | None = None
    occurred_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _names_one_agent(self) -> Self:
        if (self.agent_id is None) == (self.external_id is None):
            raise ValueError("name the agent by one of agent_id and external_id")
        return self

    @property
    def whose(self) -> str:
        """The id of the agent that this is about."""
        if self.external_id is not None:
            return agent_id_of(self.account, self.external_id)
        return str(self.agent_id)


class UpsertMessage(_Message):
    """Store this agent, new or not; without `llm` it keeps its models and their keys."""

    kind: Literal["agent.upsert"]
    agent: AgentFields
    llm: SealedLlm | None = None


class ChangeMessage(_Message):
    """Replace these fields of an agent that is there; without `llm` it keeps its models."""

    kind: Literal["agent.change"]
    changes: ChangedFields
    llm: SealedLlm | None = None


class DeleteMessage(_Message):
    """Remove an agent and its keys."""

    kind: Literal["agent.delete"]


ConfigMessage = UpsertMessage | ChangeMessage | DeleteMessage
read_message: Final = TypeAdapter[ConfigMessage](
    Annotated[ConfigMessage, Field(discriminator="kind")]
).validate_python
"""Reads a message; raises pydantic.ValidationError, whose text holds what was sent."""
