"""Why a connection failed, where httpx and httpcore tell it by the chain of causes alone."""

import ssl


def is_tls(error: BaseException | None) -> bool:
    """Tell whether an error of TLS is in the chain: a certificate or a handshake was refused."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
