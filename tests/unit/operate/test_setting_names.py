"""The doctor names variables that look like settings and are none."""

from pathlib import Path

import pytest

from edge.settings import DeviceSettings
from tests.unit.operate.test_compose import KNOWN as IN_FORCE
from workers.commands.check_names import KNOWN, OF_DEVICES, check_names, nearest
from workers.settings import Settings

SETTINGS = Settings(_env_file=None)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_is_known_is_what_servers_and_devices_read() -> None:
    assert KNOWN == IN_FORCE
    assert set(DeviceSettings.model_fields) - set(Settings.model_fields) == OF_DEVICES


def test_names_that_are_known_are_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    before = check_names(SETTINGS)
    for name in ("EDGEWISE_PORT", "edgewise_port", "EDGEWISE_SERVER", "EDGEWISE_SECRET_KEYS"):
        monkeypatch.setenv(name, "1")
    assert check_names(SETTINGS) == before


def test_a_misspelt_name_is_told_with_its_place_and_the_one_that_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGEWISE_PROT", "hidden-1")
    Path(".env").write_text("EDGEWISE_MANAGED_LLM_BASE_ULR=hidden-2\nEDGEWISE_PORT=1\nOTHER=2\n")
    check = check_names(SETTINGS)
    assert (check.ok, check.needed) == (False, False)
    assert "EDGEWISE_PROT (environment)" in check.found
    assert check.found.endswith("EDGEWISE_MANAGED_LLM_BASE_ULR (.env)")
    assert "EDGEWISE_PORT" in check.mend
    assert "EDGEWISE_MANAGED_LLM_BASE_URL" in check.mend
    assert "hidden" not in check.found + check.mend


def test_a_name_that_is_like_none_gets_no_suggestion() -> None:
    assert nearest("EDGEWISE_COFFEE_STRENGTH") is None
