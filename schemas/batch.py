"""A batch: changes to many agents in one request, and what becomes of each row."""

from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.agent import MAX_ENTRIES, ApiKey, BaseUrl, GivenFields, ModelName
from schemas.closed import Closed
from schemas.error import ErrorCode
from schemas.ids import AgentId
from schemas.text import ExternalId
from schemas.tool import Tools

MAX_ROWS: Final = 100_000
MAX_BATCH_BYTES: Final = 64 * 1_048_576
MAX_ROW_BYTES: Final = 262_144
BATCH_TASK: Final = "config.apply_batch"

BatchId = Annotated[str, StringConstraints(pattern=r"^batch_[0-9a-f]{32}$")]
BatchStatus = Literal["running", "done"]


class RowEntry(Closed):
    """An LLM entry of a row; without `api_key`, the key stored for its `base_url` is kept."""

    base_url: BaseUrl
    model: ModelName
    api_key: ApiKey | None = None


class _Named(Closed):
    """Which agent a row is about."""

    id: AgentId | None = None
    external_id: ExternalId | None = None

    @model_validator(mode="after")
    def _by_one_name(self) -> Self:
        if (self.id is None) == (self.external_id is None):
            raise ValueError("name the agent by `id` or by `external_id`, and by one of them alone")
        return self


class UpsertRow(GivenFields, _Named):
    """The whole agent as it shall be: but for models and tools, what is left out takes its default.

    By `external_id` it is made where it is not there yet; by `id` it must be.
    """

    delete: Literal[False] = False
    llm: Annotated[tuple[RowEntry, ...], Field(max_length=MAX_ENTRIES)] | None = None
    """Left out, an agent that is there keeps its models; empty: the managed model."""
    tools: Tools | None = None
    """Left out, an agent that is there keeps its tools."""


class DeleteRow(_Named):
    """Remove this agent; where there is none, nothing is changed."""

    delete: Literal[True]


class RowError(Closed):
    """Why a row was not applied; `line` is where it begins, or its place in a JSON list."""

    line: int
    code: ErrorCode
    message: str
    param: str | None = None


class BatchAccepted(Closed):
    """The answer to a batch that was received whole; nothing of it is lost from here on."""

    id: BatchId
    status: BatchStatus
    total: int


class Batch(Closed):
    """How far a batch is; `done` rows are those of the five counts behind it."""

    id: BatchId
    status: BatchStatus
    total: int
    done: int
    created: int
    updated: int
    unchanged: int
    deleted: int
    failed: int
    created_at: datetime
    finished_at: datetime | None


class BatchTask(Closed):
    """The Celery message: a batch has rows that wait to be applied."""

    version: Literal[1] = 1
    batch_id: BatchId
