"""Where a server listens, and what it says about it."""

import json
from pathlib import Path

import pytest

from workers.errors import ConfigurationError
from workers.web.serving import listen, reachable_url, write_json


def test_port_0_takes_a_free_port_and_the_url_names_it() -> None:
    with listen("127.0.0.1", 0, "EDGEWISE") as listener:
        host, port = listener.getsockname()
        assert port > 0
        assert reachable_url(host, port) == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8300"),
        ("::", "http://[::1]:8300"),
        ("::1", "http://[::1]:8300"),
        ("192.0.2.7", "http://192.0.2.7:8300"),
    ],
)
def test_the_url_is_one_that_this_machine_can_dial(host: str, url: str) -> None:
    assert reachable_url(host, 8300) == url


def test_a_port_that_is_taken_is_a_setting_to_change() -> None:
    with (
        listen("127.0.0.1", 0, "EDGEWISE") as listener,
        pytest.raises(ConfigurationError, match=r"taken; .*EDGEWISE_LLM_GATEWAY_PORT \(0 takes"),
    ):
        listen("127.0.0.1", listener.getsockname()[1], "EDGEWISE_LLM_GATEWAY")


def test_an_address_that_is_none_of_this_machine_is_a_setting_to_change() -> None:
    with pytest.raises(ConfigurationError, match=r"on 192\.0\.2\.7.*mend EDGEWISE_HOST"):
        listen("192.0.2.7", 0, "EDGEWISE")


def test_the_announcement_is_written_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "run" / "gateway.json"
    write_json(file, {"url": "http://127.0.0.1:1", "pid": 2})
    write_json(file, {"url": "http://127.0.0.1:3", "pid": 4})
    assert json.loads(file.read_text()) == {"url": "http://127.0.0.1:3", "pid": 4}
    assert [path.name for path in file.parent.iterdir()] == ["gateway.json"]
    assert file.stat().st_mode & 0o077 == 0
