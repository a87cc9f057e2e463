"""The operator's own authorities are trusted besides the public ones, or nothing starts."""

from pathlib import Path

import pytest
import trustme

from workers.commands.checks import check_ca_file
from workers.errors import ConfigurationError
from workers.providers.trust import trusted_authorities
from workers.settings import Settings


def settings(file: Path | None) -> Settings:
    return Settings(_env_file=None, ca_file=file)


def test_the_file_comes_on_top_of_the_public_authorities(tmp_path: Path) -> None:
    public = trusted_authorities(settings(None)).get_ca_certs()
    assert len(public) > 50
    file = tmp_path / "authorities.pem"
    for _ in range(2):
        trustme.CA().cert_pem.write_to_path(file, append=True)

    both = trusted_authorities(settings(file)).get_ca_certs()

    assert len(both) == len(public) + 2
    assert all(each in both for each in public)
    assert str(file) in check_ca_file(settings(file)).found


@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\n"])
def test_a_file_that_vouches_for_nobody_is_an_error_that_names_the_setting(
    tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match="EDGEWISE_CA_FILE"):
        trusted_authorities(settings(file))
    assert not check_ca_file(settings(file)).ok
