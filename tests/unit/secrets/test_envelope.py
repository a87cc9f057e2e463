import os

import pytest
from pydantic import SecretStr

from tests.unit.secrets.places import ELSEWHERE, HERE
from workers.errors import CredentialsUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.envelope import decrypt, encrypt, key_id_of, rewrap
from workers.secrets.key_ring import KeyEncryptionKey, KeyRing, KeyRingReader

OLD, NEW = KeyEncryptionKey(os.urandom(32)), KeyEncryptionKey(os.urandom(32))
FIND = KeyRingReader(lambda: KeyRing({OLD.id: OLD, NEW.id: NEW})).find
SECRET = SecretStr("sk-unit-19c2")


def opened(envelope: bytes, place: Binding = HERE) -> str:
    return decrypt(FIND, envelope, place).get_secret_value()


def test_what_is_stored_opens_again_and_says_its_key() -> None:
    envelope = encrypt(OLD, SECRET, HERE)
    assert opened(envelope) == SECRET.get_secret_value()
    assert key_id_of(envelope) == OLD.id
    assert SECRET.get_secret_value().encode() not in envelope


@pytest.mark.parametrize("place", ELSEWHERE, ids=str)
def test_a_stored_value_opens_in_its_own_place_only(place: Binding) -> None:
    envelope = encrypt(OLD, SECRET, HERE)
    with pytest.raises(CredentialsUnavailableError):
        opened(envelope, place)
    with pytest.raises(CredentialsUnavailableError):
        rewrap(FIND, NEW, envelope, place)


def test_every_flipped_bit_is_refused() -> None:
    envelope = encrypt(OLD, SECRET, HERE)
    for position in range(len(envelope)):
        for bit in range(8):
            changed = bytearray(envelope)
            changed[position] ^= 1 << bit
            with pytest.raises(CredentialsUnavailableError):
                opened(bytes(changed))


def test_a_value_that_is_cut_or_drawn_out_is_refused() -> None:
    envelope = encrypt(OLD, SECRET, HERE)
    for changed in [envelope + b"\0", *(envelope[:end] for end in range(len(envelope)))]:
        with pytest.raises(CredentialsUnavailableError):
            opened(changed)


def test_parts_of_two_values_of_one_place_do_not_fit_together() -> None:
    one, other = encrypt(OLD, SECRET, HERE), encrypt(OLD, SecretStr("sk-unit-0000"), HERE)
    with pytest.raises(CredentialsUnavailableError):
        opened(one[:69] + other[69:])


def test_a_value_moves_to_another_key_whole() -> None:
    moved = rewrap(FIND, NEW, encrypt(OLD, SECRET, HERE), HERE)
    assert key_id_of(moved) == NEW.id
    new_alone = KeyRingReader(lambda: KeyRing({NEW.id: NEW})).find
    assert decrypt(new_alone, moved, HERE).get_secret_value() == SECRET.get_secret_value()


def test_a_lost_key_is_named_and_its_value_stays_closed() -> None:
    new_alone = KeyRingReader(lambda: KeyRing({NEW.id: NEW})).find
    with pytest.raises(CredentialsUnavailableError, match=OLD.id):
        decrypt(new_alone, encrypt(OLD, SECRET, HERE), HERE)


def test_a_key_shows_nothing_of_itself() -> None:
    assert OLD.material.hex() not in repr(OLD) + repr(KeyRing({OLD.id: OLD}))
    assert repr(OLD.material) not in repr(OLD)
