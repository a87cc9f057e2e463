"""Places of secrets, and keys to try them with."""

from dataclasses import replace

from workers.secrets.binding import Binding

HERE = Binding("default", "agent_" + "0" * 32, 0, "https://llm.example/v1")
ELSEWHERE = (
    replace(HERE, account="other"),
    replace(HERE, agent_id="agent_" + "1" * 32),
    replace(HERE, entry=1),
    replace(HERE, endpoint="https://evil.example/v1"),
    replace(HERE, field="header"),
)
