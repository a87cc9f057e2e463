import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.unit.secrets.places import ELSEWHERE, HERE
from workers.errors import CredentialsUnavailableError
from workers.secrets.binding import Binding
from workers.secrets.sealing import seal
from workers.secrets.unsealing import unseal

KEY = X25519PrivateKey.generate()
SECRET = SecretStr("sk-unit-7f3a")


@given(st.text(min_size=1, max_size=1_024).filter(lambda text: text.isascii()))
def test_what_is_sealed_opens_again(text: str) -> None:
    sealed = seal(KEY.public_key(), SecretStr(text), HERE)
    assert unseal(KEY, sealed, HERE).get_secret_value() == text


def test_the_same_value_is_never_sealed_the_same() -> None:
    assert len({seal(KEY.public_key(), SECRET, HERE) for _ in range(20)}) == 20


@pytest.mark.parametrize("place", ELSEWHERE, ids=str)
def test_a_sealed_value_opens_in_its_own_place_only(place: Binding) -> None:
    with pytest.raises(CredentialsUnavailableError):
        unseal(KEY, seal(KEY.public_key(), SECRET, HERE), place)


def test_every_flipped_bit_is_refused_and_nothing_of_the_value_is_told() -> None:
    sealed = seal(KEY.public_key(), SECRET, HERE).encode()
    for position in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[position] ^= 1 << bit
            with pytest.raises(CredentialsUnavailableError) as caught:
                unseal(KEY, changed.decode("latin-1"), HERE)
            assert SECRET.get_secret_value() not in repr(caught.value)


@pytest.mark.parametrize("text", ["", "1", "1..", "1.00.", "2.x.y", "1.0000000000000000.ünï"])
def test_what_is_no_sealed_value_is_refused(text: str) -> None:
    with pytest.raises(CredentialsUnavailableError):
        unseal(KEY, text, HERE)


def test_another_key_opens_nothing() -> None:
    with pytest.raises(CredentialsUnavailableError, match="another key"):
        unseal(X25519PrivateKey.generate(), seal(KEY.public_key(), SECRET, HERE), HERE)


@given(
    st.lists(
        st.tuples(st.text(), st.text(), st.integers(), st.text(), st.text()),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_two_places_are_never_written_the_same(parts: list[tuple[str, str, int, str, str]]) -> None:
    one, other = (Binding(*part) for part in parts)
    assert one.encoded() != other.encoded()
