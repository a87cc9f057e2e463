"""An endpoint that hears of all changes of the default account; nobody sends to it."""

from sqlalchemy import Engine

from schemas.ids import new_id
from schemas.webhook import MESSAGE_TYPES
from tests.integration.config.keys import NOW, URL
from workers.storage.database import reading, writing
from workers.storage.webhooks.deliveries import list_deliveries
from workers.storage.webhooks.endpoints import StoredEndpoint, add_endpoint


def add_hook(engine: Engine) -> None:
    hook = StoredEndpoint(
        id=new_id("endpoint"), account="default", url=URL, events=MESSAGE_TYPES, created_at=NOW
    )
    with writing(engine) as connection:
        add_endpoint(connection, hook)


def told(engine: Engine) -> int:
    """Of how many changes it was told."""
    with reading(engine) as connection:
        return len(list_deliveries(connection, limit=100))
