"""The Celery applications: what the libraries' defaults get wrong is set right here.

Sources of each setting: `docs/develop.md`, "Celery on Redis".
"""

from urllib.parse import urlsplit

from celery import Celery

from workers import broker_transport
from workers.errors import ConfigurationError
from workers.settings import Settings


def broker_url(settings: Settings) -> str:
    """Return the broker's URL as Celery spells it."""
    url = settings.broker_url or settings.redis_url
    if url is None:
        raise ConfigurationError(
            "no Redis to work with: set EDGEWISE_REDIS_URL, or run `edgewise up`, "
            "which starts a private one"
        )
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"redis+socket://{parts.path}"
    return url


def make_celery(settings: Settings, name: str) -> Celery:
    """Make a Celery application for producing and consuming our tasks; it connects lazily."""
    broker_transport.install()
    url = broker_url(settings)
    app = Celery(name, broker=url, set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_track_started=False,
        task_create_missing_queues=True,
        task_default_queue=name,
        worker_consumer="workers.broker_consumer:Consumer",
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=10,
        task_publish_retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.2},
    )
    if url.startswith("redis"):
        # A publish on a dead connection waits for ever by default, and a killed worker's task
        # comes back after minutes.
        app.conf.broker_transport_options = {
            "socket_timeout": 5,
            "socket_connect_timeout": 2,
            "health_check_interval": 5,
            "visibility_timeout": 30,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        }
    return app
