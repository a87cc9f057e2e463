import re
from pathlib import Path

import pytest

from tests.unit.operate.settings_table import rows

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_table_of_settings_is_the_one_in_force() -> None:
    page = (ROOT / "docs" / "server.md").read_text()
    missing = [row for row in rows() if row not in page.splitlines()]
    assert missing == [], "`python -m tests.unit.operate.settings_table` prints the table"
    named = set(re.findall(r"^\| `(EDGEWISE_[A-Z_]+)`", page, re.MULTILINE))
    assert len(named) == len(rows())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= targets


def test_the_verbs_that_everyone_knows_are_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "demo", "up", "check", "test", "test-all", "bench", "help"} <= targets
