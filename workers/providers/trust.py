"""Which certificate authorities vouch for the servers that are called."""

import ssl

import httpx

from workers.errors import ConfigurationError
from workers.settings import Settings


def trusted_authorities(settings: Settings) -> ssl.SSLContext:
    """Return what servers' certificates are checked against; may be shared by clients.

    The public authorities, and those of the operator's `EDGEWISE_CA_FILE`; whatever else the
    environment names is not used. Raises ConfigurationError where that file is not to be had.
    """
    context = httpx.create_ssl_context(trust_env=False)
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError(
                f"EDGEWISE_CA_FILE: {settings.ca_file} is no file of PEM certificates that can"
                " be read"
            ) from error
    return context
