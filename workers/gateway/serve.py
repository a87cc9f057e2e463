"""Run the gateway as a process."""

from workers.gateway.app import create_app
from workers.settings import Settings
from workers.web.serving import run_app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM; `home/run/gateway.json` says where while it listens."""
    app = create_app(settings)

    def stop_waiting() -> None:
        app.state.resources.changes.stop_waiting()

    run_app(
        app,
        host=settings.host,
        port=settings.port,
        settings="EDGEWISE",
        announce=settings.home_path / "run" / "gateway.json",
        on_stop=stop_waiting,
    )
