"""A gateway that asks to wait is sent the same rows again under the same key, and not for ever."""

from pathlib import Path

import httpx
import pytest

from schemas.batch import RowError
from workers.commands import sent_rows
from workers.commands.gateway_client import GatewayRefusedError
from workers.commands.sent_rows import SentRows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "agents.ndjson"
    file.write_text('{"name": "ü"}\n{"name": \n{"name": "b"}\n')
    return file


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sent_rows, "LEAST_S", 0.0)


def busy(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, json={"message": "too many"})


class Gateway:
    def __init__(self, *answers: httpx.Response) -> None:
        self.bodies: list[bytes] = []
        self.keys: list[str] = []
        self._answers = list(answers)
        self.client = httpx.Client(
            transport=httpx.MockTransport(self._answer), base_url="http://gateway"
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        self.keys.append(request.headers["idempotency-key"])
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def test_it_is_tried_again_until_the_gateway_takes_it(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wait = {"Retry-After": "0"}
    accepted = httpx.Response(202, json={"id": "batch_1"})
    gateway = Gateway(*(busy(status, **wait) for status in (429, 503, 409)), accepted)
    rows = SentRows(file)
    assert rows.send(gateway.client) == {"id": "batch_1"}
    assert gateway.bodies == ['{"name": "ü"}\n{"name": "b"}\n'.encode()] * 4
    assert len(set(gateway.keys)) == 1
    assert [error.line for error in rows.errors] == [2]
    error = RowError(line=2, code="validation_error", message="wrong")
    assert rows.in_file(error).line == 3
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("answer", "within_s"),
    [
        (busy(429, **{"Retry-After": "1"}), 0.5),
        (busy(503), 300.0),
        (busy(409), 300.0),
        (busy(500, **{"Retry-After": "0"}), 300.0),
    ],
)
def test_it_is_not_tried_again_past_the_bound_nor_where_nothing_says_when(
    file: Path, answer: httpx.Response, within_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sent_rows, "BUSY_S", within_s)
    gateway = Gateway(answer)
    with pytest.raises(GatewayRefusedError, match=f"{answer.status_code}: too many"):
        SentRows(file).send(gateway.client)
    assert len(gateway.bodies) == 1


def test_a_file_of_which_no_row_can_be_read_is_not_sent(file: Path) -> None:
    file.write_text("[]\n{\n")
    gateway, rows = Gateway(busy(500)), SentRows(file)
    assert rows.send(gateway.client) is None
    assert [error.line for error in rows.errors] == [1, 2]
    assert gateway.bodies == []
