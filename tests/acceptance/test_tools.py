"""A tool through the whole system: the model calls it, the device runs it, the user hears of it."""

from pathlib import Path

from tests.acceptance.model import Model
from tests.acceptance.talking import talk
from tests.servers.system import System

LIGHTS = {
    "name": "lights",
    "description": "Switches the lights on.",
    "parameters": {"type": "object", "properties": {"room": {"type": "string"}}},
    "timeout_seconds": 10,
}


def test_the_device_runs_a_tool_and_the_model_answers_with_its_result(
    system: System, model: Model, go_forward: Path
) -> None:
    agent = system.agent(tools=[LIGHTS])
    with model.calls_tools():
        heard = talk(system, agent, go_forward, options=["--tool", "lights=echo the hall is lit"])
    assert heard.turn["error"] is None, heard
    assert heard.turn["reply_text"].startswith("The tool said: the hall is lit")
    roles = [message["role"] for message in model.requests[1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
