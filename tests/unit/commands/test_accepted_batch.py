"""A batch that was accepted is followed past what a gateway's restart does to a wait."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from schemas.batch import RowError
from workers.commands import accepted_batch
from workers.commands.accepted_batch import outcome_of
from workers.commands.gateway_client import GatewayRefusedError

BATCH = "batch_" + "0" * 32
PATH = f"/v1/batches/{BATCH}"
ERROR = RowError(line=3, code="validation_error", message="a\u2028b", param="name")
Answer = httpx.Response | type[Exception]


def state(done: int, *, failed: int = 0) -> httpx.Response:
    counts = {"total": 2, "done": done, "failed": failed}
    return httpx.Response(200, json={"status": "done" if done == 2 else "running", **counts})


def listed(*errors: RowError) -> httpx.Response:
    return httpx.Response(200, text="".join(f"{each.model_dump_json()}\n" for each in errors))


def refused(status: int) -> httpx.Response:
    return httpx.Response(status, json={"message": "not now"})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepted_batch, "POLL_S", 0.0)
    monkeypatch.setattr(accepted_batch, "STALLED_S", 10.0)


def follow(*answers: Answer) -> tuple[dict[str, Any], list[RowError]]:
    """Follow a batch at a gateway that gives these answers, the last of them again and again."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path.startswith(PATH)
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, httpx.Response):
            return found
        raise found("planted")

    transport = httpx.MockTransport(answer)
    with httpx.Client(transport=transport, base_url="http://gateway:8300") as client:
        return outcome_of(client, BATCH)


@pytest.mark.parametrize(
    "blip",
    [
        httpx.ConnectError,
        httpx.ReadTimeout,
        httpx.RemoteProtocolError,
        lambda: refused(502),
        lambda: refused(503),
    ],
)
def test_a_gateway_that_is_away_for_a_while_is_waited_for(blip: Callable[[], Any]) -> None:
    gone = [blip if isinstance(blip, type) else blip() for _ in range(3)]
    batch, errors = follow(*gone, state(1), *gone, state(2, failed=1), *gone, listed(ERROR))
    assert (batch["done"], errors) == (2, [ERROR])


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([state(1), refused(401)], "401: not now"),
        ([state(1), refused(500)], "500: not now"),
        ([state(2, failed=1), refused(404)], "404: not now"),
        ([httpx.Response(200, text="<html>")], "none of a gateway"),
        ([state(2, failed=1), httpx.Response(200, text="<html>")], "none of a gateway"),
        ([httpx.TooManyRedirects], "TooManyRedirects"),
    ],
)
def test_a_wait_that_fails_names_the_batch(answers: list[Answer], reason: str) -> None:
    with pytest.raises(GatewayRefusedError) as caught:
        follow(*answers)
    assert reason in str(caught.value)
    assert f"GET http://gateway:8300{PATH} says how far it is" in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.ConnectError, "ConnectError"),
        (refused(503), "503: not now"),
        (state(1), "nothing was applied for"),
    ],
)
def test_a_wait_that_stalls_ends_and_names_the_batch(
    answer: Answer, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepted_batch, "STALLED_S", 0.05)
    with pytest.raises(GatewayRefusedError, match=reason) as caught:
        follow(answer)
    assert PATH in str(caught.value)


def test_whoever_interrupts_the_wait_is_told_where_the_batch_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(_: str) -> KeyboardInterrupt:
        return KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        follow(interrupt)  # type: ignore[arg-type]  # raised in the place of an answer
    assert PATH in capsys.readouterr().err
