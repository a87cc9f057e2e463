"""Messages for the endpoints of an account, written down with what they tell of.

Each function works inside the transaction that settles an event or ends a session, so a message
is there if and only if that happened.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import Connection, insert, select

from schemas.config_event import Status
from schemas.ids import new_id
from schemas.webhook import Message, MessageType
from workers.storage.tables import config_events, to_microseconds
from workers.storage.webhooks.endpoints import StoredEndpoint, endpoints_for
from workers.storage.webhooks.tables import webhook_deliveries, webhook_endpoints

TRIED_FOR: Final = timedelta(days=3)
"""How long a message is sent again before it has failed."""

_TOLD: Final[dict[Status, MessageType]] = {
    "applied": "config_event.applied",
    "rejected": "config_event.rejected",
    "dead": "config_event.dead",
}

DeliveryStatus = Literal["pending", "delivered", "failed"]


class Told(NamedTuple):
    """What became of a config event, as its account is told."""

    event_id: str
    status: Status
    message: str | None = None
    code: str | None = None
    param: str | None = None


def announce(
    connection: Connection, account: str, type_: MessageType, data: dict[str, Any], now: datetime
) -> int:
    """Write a message down for each endpoint that wants it and return how many there are."""
    rows = _rows(endpoints_for(connection, account), account, type_, data, now)
    if rows:
        connection.execute(insert(webhook_deliveries), rows)
    return len(rows)


def announce_results(connection: Connection, results: Sequence[Told], now: datetime) -> None:
    """Tell what became of config events; of one that was withdrawn its caller knows already."""
    columns = config_events.c
    account_listens = (
        select(webhook_endpoints.c.id)
        .where(
            webhook_endpoints.c.account == columns.account,
            webhook_endpoints.c.disabled_at.is_(None),
        )
        .exists()
    )
    ids = [told.event_id for told in results if told.status in _TOLD]
    query = select(columns.id, columns.account, columns.kind, columns.agent_id)
    found = connection.execute(query.where(columns.id.in_(ids), account_listens)).all()
    of_event = {row.id: row for row in found}
    listening = {row.account: endpoints_for(connection, row.account) for row in found}
    rows = []
    for told in results:
        if (event := of_event.get(told.event_id)) is not None:
            data = {"event_id": event.id, "kind": event.kind, "agent_id": event.agent_id}
            if told.status == "rejected":
                data |= {"code": told.code, "message": told.message, "param": told.param}
            endpoints = listening[event.account]
            rows += _rows(endpoints, event.account, _TOLD[told.status], data, now)
    if rows:
        connection.execute(insert(webhook_deliveries), rows)


def _rows(
    endpoints: Sequence[StoredEndpoint],
    account: str,
    type_: MessageType,
    data: dict[str, Any],
    now: datetime,
) -> list[dict[str, Any]]:
    wanting = [endpoint for endpoint in endpoints if type_ in endpoint.events]
    if not wanting:
        return []
    moment = to_microseconds(now)
    shared = {
        "account": account,
        "type": type_,
        "body": Message(type=type_, timestamp=now, data=data).model_dump_json(),
        "status": "pending",
        "created_at": moment,
        "due_at": moment,
        "gives_up_at": to_microseconds(now + TRIED_FOR),
    }
    return [{**shared, "id": new_id("msg"), "endpoint_id": each.id} for each in wanting]


def announce_session(
    connection: Connection,
    account: str,
    *,
    session_id: str,
    agent_id: str,
    reason: str,
    started_at: datetime,
    ended_at: datetime,
) -> None:
    """Tell that a session has ended."""
    data = {
        "session_id": session_id,
        "agent_id": agent_id,
        "reason": reason,
        "started_at": started_at.isoformat().replace("+00:00", "Z"),
        "duration_seconds": round((ended_at - started_at).total_seconds(), 3),
    }
    announce(connection, account, "session.ended", data, ended_at)
