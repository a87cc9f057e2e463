"""New secrets of webhook sources and endpoints: closed in the transaction that stores them."""

from datetime import datetime

import structlog
from pydantic import SecretStr
from sqlalchemy import Connection

from schemas.ids import new_id
from workers.errors import KeysUnavailableError
from workers.gateway.rest_errors import unavailable
from workers.secrets.secret_box import SecretBox
from workers.storage.webhooks.endpoints import StoredEndpoint
from workers.storage.webhooks.secrets import StoredSecret, add_secret, lock_to_add
from workers.storage.webhooks.sources import StoredSource

log = structlog.get_logger(__name__)


def keep_secret(
    connection: Connection,
    box: SecretBox,
    owner: StoredSource | StoredEndpoint,
    secret: SecretStr,
    *,
    older_until: datetime,
    now: datetime,
) -> StoredSecret:
    """Store an owner's new secret; its older ones are valid until then, and no longer.

    Raises ApiError, 503, where there is no key to keep it under.
    """
    lock_to_add(connection)
    draft = StoredSecret(
        id=new_id("secret"),
        owner_id=owner.id,
        account=owner.account,
        secret=b"",
        created_at=now,
    )
    try:
        stored = draft.model_copy(update={"secret": box.close(secret, draft.place)})
    except KeysUnavailableError as error:
        log.error("webhook secrets cannot be kept", reason=str(error))  # noqa: TRY400  # frames of a traceback hold the secret
        raise unavailable("secrets cannot be stored at the moment") from None
    add_secret(connection, stored, older_until=older_until)
    return stored
