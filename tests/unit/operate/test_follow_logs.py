import json
from pathlib import Path

import pytest

from workers.supervision import follow_logs
from workers.supervision.follow_logs import LogFollower, error_line


def entry(level: str, event: str, **more: str) -> str:
    return json.dumps({"level": level, "event": event, **more}) + "\n"


def test_an_error_becomes_one_line_and_anything_else_none() -> None:
    assert error_line("turns", entry("error", "it broke", error="OSError")) == (
        "turns: it broke (OSError)"
    )
    for line in (entry("info", "fine"), "no json", "[1]", "3", ""):
        assert error_line("turns", line) is None


def test_only_news_are_told_and_a_half_written_line_waits_for_its_end(tmp_path: Path) -> None:
    log = tmp_path / "gateway.log"
    log.write_text(entry("error", "old"))
    follower = LogFollower(tmp_path)
    assert follower.new_errors() == []
    with log.open("a") as stream:
        stream.write(entry("error", "new") + entry("error", "half")[:10])
        stream.flush()
        assert follower.new_errors() == ["gateway: new"]
        stream.write(entry("error", "half")[10:])
    assert follower.new_errors() == ["gateway: half"]


def test_a_log_that_appears_later_is_read_from_its_start(tmp_path: Path) -> None:
    follower = LogFollower(tmp_path)
    (tmp_path / "turns.log").write_text(entry("critical", "gone"))
    assert follower.new_errors() == ["turns: gone"]


def test_a_long_log_is_cut_and_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_logs, "LONGEST_LOG", 100)
    log = tmp_path / "turns.log"
    follower = LogFollower(tmp_path)
    with log.open("a") as writer:
        writer.write(entry("info", "x" * 200))
        writer.flush()
        follower.new_errors()
        assert log.stat().st_size == 0
        assert "xxx" in (tmp_path / "turns.log.1").read_text()
        writer.write(entry("error", "after"))
    assert follower.new_errors() == ["turns: after"]
    assert follower.new_errors() == []
