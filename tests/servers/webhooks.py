"""A sender of webhooks as others write it: signed with the `standardwebhooks` package."""

import base64
import hmac
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy import Engine
from standardwebhooks.webhooks import Webhook

from schemas.error import ErrorBody
from schemas.ids import new_id


@dataclass(frozen=True)
class Sender:
    """A source of a gateway, and one of its secrets."""

    client: httpx.Client
    url: str
    secret: str = field(repr=False)

    def send(
        self,
        body: bytes,
        webhook_id: str | None = None,
        *,
        at: float | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Sign a body and send it; `headers` stand in for what would be signed."""
        signed = signed_headers(self.secret, body, webhook_id or new_id("msg"), at)
        return self.client.post(
            self.url, content=body, headers={"Authorization": "", **signed, **headers}
        )


def signed_headers(
    secret: str, body: bytes, webhook_id: str, at: float | None = None
) -> dict[str, str]:
    """Sign with the package; a body that is no text, which it does not take, by hand."""
    moment = datetime.fromtimestamp(int(time.time() if at is None else at), UTC)
    seconds = str(int(moment.timestamp()))
    try:
        signature = Webhook(secret).sign(webhook_id, moment, body.decode())
    except UnicodeDecodeError:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        made = hmac.digest(key, f"{webhook_id}.{seconds}.".encode() + body, "sha256")
        signature = f"v1,{base64.b64encode(made).decode()}"
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": seconds,
        "webhook-signature": signature,
    }


def new_sender(client: httpx.Client, name: str, **asked: Any) -> Sender:
    """Make a source, or rotate its secret."""
    answer = client.put(f"/v1/sources/{name}", json=asked)
    assert answer.status_code in (200, 201), answer.text
    made = answer.json()
    return Sender(client, made["url"], made["secret"] or asked["secret"])


def event_body(kind: str, at: datetime | None = None, **data: Any) -> bytes:
    moment = (at or datetime.now(UTC)).isoformat()
    return json.dumps({"type": kind, "timestamp": moment, "data": data}).encode()


def upsert_body(
    external_id: str, name: str = "a", at: datetime | None = None, **more: Any
) -> bytes:
    fields = {"name": name, "system_prompt": "b", "voice": {"voice_id": "ivy"}, **more}
    return event_body("agent.upsert", at, external_id=external_id, **fields)


def code_of(answer: httpx.Response) -> tuple[int, str]:
    """Return the status and code of an error, which has the one body of all errors."""
    return answer.status_code, ErrorBody.model_validate_json(answer.content).code


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())
