"""The public key with which other programs seal the keys of models."""

import asyncio
import base64
import os
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Request

from schemas.closed import Closed
from workers.errors import KeysUnavailableError
from workers.gateway.auth import GuardedRoute, require_account
from workers.gateway.resources import Resources
from workers.gateway.rest_errors import unavailable
from workers.secrets.key_files import keys_folder
from workers.secrets.sealing import read_public_key, sealing_key_id

SUITE: Final = "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM"

router = APIRouter(prefix="/v1", tags=["agents"], route_class=GuardedRoute)


class SealingKey(Closed):
    """What to seal with: HPKE (RFC 9180), base mode."""

    suite: Literal["DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM"] = SUITE
    key_id: str
    public_key: str
    """32 bytes in base64."""


@router.get("/sealing-key")
async def get_sealing_key(
    _account: Annotated[str, Depends(require_account)], request: Request
) -> SealingKey:
    """Return the public key that keys of models are sealed with in queue messages."""
    held: Resources = request.app.state.resources
    try:
        key = await asyncio.to_thread(
            read_public_key, keys_folder(held.settings.home_path), os.environ
        )
    except KeysUnavailableError:
        raise unavailable("there is no key to seal with at the moment") from None
    public_key = base64.b64encode(key.public_bytes_raw()).decode("ascii")
    return SealingKey(key_id=sealing_key_id(key), public_key=public_key)
