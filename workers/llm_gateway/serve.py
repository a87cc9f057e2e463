"""Run the LLM gateway as a process."""

from workers.llm_gateway.app import create_app
from workers.settings import Settings
from workers.web.serving import run_app


def serve(settings: Settings) -> None:
    """Serve until SIGTERM; `home/run/llm-gateway.json` says where while it listens."""
    run_app(
        create_app(settings),
        host=settings.llm_gateway_host,
        port=settings.llm_gateway_port,
        settings="EDGEWISE_LLM_GATEWAY",
        announce=settings.home_path / "run" / "llm-gateway.json",
    )
