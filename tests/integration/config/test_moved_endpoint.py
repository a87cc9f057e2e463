"""What waits for an endpoint when it moves."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from tests.integration.config.test_webhook_delivery import (
    POLICY,
    Endpoint,
    attempt,
    box,
    deliverer,
    deliveries,
    endpoint,
    receiver,
)
from tests.servers.webhook_receiver import Receiver, running_receiver
from workers.gateway.configuring.endpoint_keeper import EndpointKeeper
from workers.secrets.secret_box import SecretBox
from workers.webhooks.deliver import Deliverer

__all__ = ["box", "deliverer", "endpoint", "receiver"]


async def test_what_waits_goes_to_the_new_place_at_once_and_has_its_time_anew(
    engine: Engine, box: SecretBox, receiver: Receiver, endpoint: Endpoint, deliverer: Deliverer
) -> None:
    told = endpoint.tell(datetime.now(UTC) - timedelta(days=2, hours=23))
    receiver.status = 500
    assert await attempt(deliverer) == 1
    assert await attempt(deliverer) == 0
    keeper = EndpointKeeper(engine, box, POLICY)
    with running_receiver() as elsewhere:
        now = datetime.now(UTC)
        same = keeper.change("default", endpoint.id, url=receiver.url, events=None, now=now)
        assert same is not None
        assert await attempt(deliverer) == 0, "it is where it was"
        moved = keeper.change("default", endpoint.id, url=elsewhere.url, events=None, now=now)
        assert moved is not None
        (waiting,) = deliveries(engine)
        assert waiting.gives_up_at == now + timedelta(days=3)
        assert await attempt(deliverer) == 1
        (message,) = elsewhere.received
        assert message.id == told
        assert message.verified(endpoint.secret)
    assert len(receiver.received) == 1
