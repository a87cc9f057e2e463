"""HTTP clients that reach only what the address policy allows, and remember nobody."""

import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from workers.providers.base_url_allow import Allow
from workers.providers.base_url_policy import BaseUrlPolicy
from workers.providers.pinned_transport import PinnedTransport
from workers.providers.resolve import Resolve, system_resolve


def pinned_client(
    allow: Allow,
    *,
    connections: int,
    connect_s: float,
    keepalive_s: float,
    verify: ssl.SSLContext | None = None,
    resolve: Resolve = system_resolve,
) -> httpx.AsyncClient:
    """Make a client that many callers share; connections stay warm for `keepalive_s`.

    It follows no redirects, takes no proxy from the environment and keeps no cookies: what a
    server hands to one caller must not come with the request of another.
    """
    limits = httpx.Limits(
        max_connections=connections,
        max_keepalive_connections=connections,
        keepalive_expiry=keepalive_s,
    )
    return httpx.AsyncClient(
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(None, connect=connect_s, pool=connect_s),
        transport=PinnedTransport(
            BaseUrlPolicy(allow), limits=limits, verify=verify, resolve=resolve
        ),
    )
