from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from workers.errors import CredentialsUnavailableError, KeysUnavailableError
from workers.secrets.key_files import encode_key, keys_folder
from workers.secrets.make_keys import make_missing_keys
from workers.secrets.secret_box import BOX_FILE, BOX_VARIABLE, SecretBox

KEY, OTHER = (encode_key(bytes([number]) * 32) for number in (1, 2))
PLACE = ("acme", "source_1", "secret_1")
SECRET = SecretStr("whsec_planted")


def box(keys: str = KEY) -> SecretBox:
    return SecretBox(Path("/nowhere"), {BOX_VARIABLE: keys})


@given(st.text(min_size=1, max_size=600))
def test_what_was_closed_opens_in_its_place_and_in_no_other(text: str) -> None:
    closed = box().close(SecretStr(text), PLACE)
    assert box().open(closed, PLACE).get_secret_value() == text
    for place in (("acm", "esource_1", "secret_1"), PLACE[:2], (*PLACE[:2], "secret_2")):
        with pytest.raises(CredentialsUnavailableError):
            box().open(closed, place)


def test_every_flipped_bit_and_every_missing_byte_is_noticed() -> None:
    closed = box().close(SECRET, PLACE)
    damaged = [
        closed[:at] + bytes([closed[at] ^ 1 << bit]) + closed[at + 1 :]
        for at in range(len(closed))
        for bit in range(8)
    ]
    for each in (*damaged, *(closed[:end] for end in range(len(closed)))):
        with pytest.raises(CredentialsUnavailableError):
            box().open(each, PLACE)


def test_a_new_key_goes_in_front_and_the_old_one_still_opens() -> None:
    closed = box(OTHER).close(SECRET, PLACE)
    both = box(f"{KEY},{OTHER}")
    assert both.open(closed, PLACE) == SECRET
    assert box(KEY).open(both.close(SECRET, PLACE), PLACE) == SECRET
    with pytest.raises(CredentialsUnavailableError, match="another key"):
        box(KEY).open(closed, PLACE)


def test_the_key_file_is_made_once_and_is_for_nobody_else(tmp_path: Path) -> None:
    folder = keys_folder(tmp_path)
    make_missing_keys(folder, {})
    closed = SecretBox(folder, {}).close(SECRET, PLACE)
    assert make_missing_keys(folder, {}) == []
    assert SecretBox(folder, {}).open(closed, PLACE) == SECRET
    assert (folder / BOX_FILE).stat().st_mode & 0o777 == 0o600
    (folder / BOX_FILE).chmod(0o644)
    with pytest.raises(KeysUnavailableError, match="chmod 600"):
        SecretBox(folder, {}).close(SECRET, PLACE)
    (folder / BOX_FILE).unlink()
    with pytest.raises(KeysUnavailableError, match="missing"):
        SecretBox(folder, {}).open(closed, PLACE)
