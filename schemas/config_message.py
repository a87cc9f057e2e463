"""A change as another program puts it on the queue `config`, in a task named `config.change`.

The one argument of the task is `message`, this as JSON. Keys of models and the values of tools'
headers come sealed.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    StringConstraints,
    TypeAdapter,
    model_validator,
)

from schemas.account import AccountName
from schemas.agent import MAX_ENTRIES, BaseUrl, GivenChanges, GivenFields, ModelName
from schemas.closed import Closed
from schemas.ids import AgentId, agent_id_of
from schemas.text import ExternalId
from schemas.tool import (
    MAX_HEADER,
    MAX_HEADERS,
    MAX_TOOLS,
    HeaderName,
    HttpToolFields,
    ToolFields,
    as_a_whole,
    check_names,
)

MESSAGE_TASK: Final = "config.change"
MAX_SEALED: Final = 2_048
MAX_SEALED_HEADER: Final = 2 * MAX_HEADER

MessageId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
"""Its sender's name for a message: it takes effect once, however often it is sent."""


SealedKey = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SEALED)]


class SealedEntry(Closed):
    """A model of the owner's own, its key sealed for this account, agent, place and `base_url`."""

    base_url: BaseUrl
    """In its normal form: lower case, no usual port, no slash at the end."""
    model: ModelName
    sealed_api_key: SealedKey


class SealedHeader(Closed):
    """A header of a tool, its value sealed for this account, agent, place, tool, URL and name."""

    name: HeaderName
    sealed_value: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SEALED_HEADER)]


class SealedHttp(HttpToolFields):
    """How a tool that we run is called; `url` in its normal form, a slash at the end allowed."""

    headers: tuple[SealedHeader, ...] = Field(default=(), max_length=MAX_HEADERS)

    @model_validator(mode="after")
    def _headers_are_different(self) -> Self:
        check_names(header.name for header in self.headers)
        return self


class SealedTool(ToolFields):
    """A tool; without `http` the client is asked to run it."""

    http: SealedHttp | None = None


SealedLlm = Annotated[tuple[SealedEntry, ...], Field(max_length=MAX_ENTRIES)]
SealedTools = Annotated[
    tuple[SealedTool, ...], Field(max_length=MAX_TOOLS), AfterValidator(as_a_whole)
]


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
    """Store this agent, new or not; without `llm` or `tools` it keeps those, secrets included.

    By `external_id` it is made where it is not there yet; by `agent_id` it must be.
    """

    kind: Literal["agent.upsert"]
    agent: GivenFields
    llm: SealedLlm | None = None
    tools: SealedTools | None = None


class ChangeMessage(_Message):
    """Replace these fields of an agent that is there; `llm` and `tools` as in UpsertMessage."""

    kind: Literal["agent.change"]
    changes: GivenChanges
    llm: SealedLlm | None = None
    tools: SealedTools | None = None


class DeleteMessage(_Message):
    """Remove an agent and its keys."""

    kind: Literal["agent.delete"]


class RotateMessage(_Message):
    """Replace the key of one LLM entry, sealed for what names it: `base_url` and `model`."""

    kind: Literal["agent.llm.rotate"]
    sealed_api_key: SealedKey
    base_url: BaseUrl | None = None
    """In its normal form; None: of the one entry that there is."""
    model: ModelName | None = None
    """Which of those with this `base_url`; None: the only one."""

    @model_validator(mode="after")
    def _names_an_endpoint(self) -> Self:
        if self.model is not None and self.base_url is None:
            raise ValueError("`model` says which of those with a `base_url`: name that, too")
        return self


ConfigMessage = UpsertMessage | ChangeMessage | DeleteMessage | RotateMessage
read_message: Final = TypeAdapter[ConfigMessage](
    Annotated[ConfigMessage, Field(discriminator="kind")]
).validate_python
"""Reads a message; raises pydantic.ValidationError, whose text holds what was sent."""
