"""From the pieces of a body to staged rows: read, checked, sealed, written down in chunks."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import ValidationError
from sqlalchemy import Engine

from schemas.agent import AgentFields, ChangedFields
from schemas.batch import MAX_ROWS, BatchAccepted, DeleteRow, RowError, UpsertRow
from schemas.config_event import AgentChange, AgentDelete, AgentUpsert, Change
from schemas.error import ErrorItem
from schemas.ids import agent_id_of
from workers.batch_files.rows import FileError, RawRow, RowReader
from workers.gateway.configuring.sealer import Sealer
from workers.gateway.rest_errors import ApiError
from workers.storage.batches.batch import extend, note_errors, turn_on
from workers.storage.batches.rows import StagedRow, stage_rows
from workers.storage.batches.sweep import give_up
from workers.storage.database import writing
from workers.web.invalid_fields import invalid_item

CHUNK_ROWS: Final = 500
CHUNK_BYTES: Final = 1_048_576
SILENT_S: Final = 60.0
"""A batch that no gateway kept for so long belongs to one that is gone, and is swept."""
_UNPROCESSABLE: Final = 422


class BatchStager:
    """Takes the body of one batch, in pieces, on threads: one call at a time.

    Each call raises ApiError where the batch is refused as a whole, and StorageUnavailableError.
    """

    def __init__(
        self,
        engine: Engine,
        sealer: Sealer,
        account: str,
        batch_id: str,
        reader: RowReader,
        *,
        silent: timedelta,
    ) -> None:
        self._engine = engine
        self._sealer = sealer
        self._account = account
        self._batch_id = batch_id
        self._reader = reader
        self._silent = silent
        self._rows: list[StagedRow] = []
        self._errors: list[RowError] = []
        self._staged = 0
        self._failed = 0
        self._bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next piece of the body."""
        try:
            self._take(self._reader.feed(data))
        except FileError as error:
            raise _invalid(str(error)) from None
        self._bytes += len(data)
        if len(self._rows) >= CHUNK_ROWS or self._bytes >= CHUNK_BYTES:
            self._write()

    def finish(self, body_hash: str) -> BatchAccepted:
        """Take the end of the body and let the rows be applied."""
        try:
            self._take(self._reader.end())
        except FileError as error:
            raise _invalid(str(error)) from None
        if not self._staged + self._failed + len(self._rows) + len(self._errors):
            raise _invalid("the body has no rows")
        self._write()
        with writing(self._engine) as connection:
            accepted = turn_on(
                connection,
                self._batch_id,
                body_hash,
                staged=self._staged,
                failed=self._failed,
                now=datetime.now(UTC),
            )
        if accepted is None:
            raise _too_slow()
        return accepted

    def give_up(self) -> None:
        """Let nothing of the batch be applied; its rows are swept by a config worker."""
        with writing(self._engine) as connection:
            give_up(connection, self._batch_id)

    def _take(self, rows: Iterable[RawRow]) -> None:
        for raw in rows:
            understood = self._understand(raw)
            if isinstance(understood, RowError):
                self._errors.append(understood)
            else:
                self._rows.append(understood)
            count = self._staged + self._failed + len(self._rows) + len(self._errors)
            if count > MAX_ROWS:
                raise _invalid(f"the body has more than {MAX_ROWS} rows")
            if len(self._rows) + len(self._errors) >= CHUNK_ROWS:
                self._write()

    def _write(self) -> None:
        now = datetime.now(UTC)
        with writing(self._engine) as connection:
            if not extend(connection, self._batch_id, now + self._silent):
                raise _too_slow()
            if self._rows:
                stage_rows(connection, self._batch_id, self._rows, now)
            note_errors(connection, self._batch_id, self._errors)
        self._staged += len(self._rows)
        self._failed += len(self._errors)
        self._rows, self._errors, self._bytes = [], [], 0

    def _understand(self, raw: RawRow) -> StagedRow | RowError:
        if raw.error is not None:
            return raw.error
        model = DeleteRow if raw.fields.get("delete") is True else UpsertRow
        try:
            row = model.model_validate(raw.fields)
            agent_id = row.id or agent_id_of(self._account, row.external_id or "")
            if isinstance(row, UpsertRow):
                return self._upsert(raw.line, row, agent_id)
        except ValidationError as error:
            errors = error.errors(include_input=False, include_url=False)
            return _row_error(raw.line, invalid_item(errors[0], model))
        except ApiError as error:
            if error.status != _UNPROCESSABLE:
                raise
            return _row_error(raw.line, error.errors[0])
        return StagedRow(raw.line, AgentDelete(agent_id=agent_id, account=self._account), ())

    def _upsert(self, line: int, row: UpsertRow, agent_id: str) -> StagedRow:
        """Return the change that a row asks for, its secrets sealed."""
        fields = {name: getattr(row, name) for name in AgentFields.model_fields}
        views = tools = None
        keys: tuple[str | None, ...] = ()
        values: tuple[str, ...] = ()
        if row.llm is not None:
            views, keys = self._sealer.seal_row(self._account, agent_id, row.llm)
        if row.tools is not None:
            tools, values = self._sealer.tools.seal(self._account, agent_id, row.tools)
        if row.external_id is None:
            change: Change = AgentChange(
                agent_id=agent_id,
                account=self._account,
                changes=ChangedFields(**fields),
                llm=views,
                tools=tools,
            )
        else:
            change = AgentUpsert(
                agent_id=agent_id,
                account=self._account,
                agent=AgentFields(**fields),
                llm=views,
                tools=tools,
                external_id=row.external_id,
            )
        return StagedRow(line, change, keys + values)


def _row_error(line: int, item: ErrorItem) -> RowError:
    return RowError(line=line, code="validation_error", message=item.message, param=item.param)


def _invalid(message: str) -> ApiError:
    return ApiError(422, "validation_error", message)


def _too_slow() -> ApiError:
    return ApiError(408, "invalid_request", "the body did not arrive in time")
