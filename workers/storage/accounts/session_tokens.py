"""Short-lived tokens in Redis, by digest: each opens one session."""

from typing import Final

from pydantic import ValidationError
from redis.asyncio import Redis

from schemas.account import AccountName, KeyId
from schemas.closed import Closed
from workers.storage.accounts.key_text import digest_of, new_token


class TokenGrant(Closed):
    """What a token stands for: the account, the key it came from, and how long a session lasts."""

    account: AccountName
    key_id: KeyId | None
    session_s: int


_PREFIX: Final = "token:"


async def issue_token(redis: "Redis", grant: TokenGrant, expires_s: int) -> str:
    """Store a grant for so many seconds and return the token that claims it.

    Raises redis.exceptions.RedisError.
    """
    token = new_token()
    await redis.set(_key(token), grant.model_dump_json(), ex=expires_s)
    return token


async def redeem_token(redis: "Redis", token: str) -> TokenGrant | None:
    """Return what a token grants, to the first who asks; None to others and after its time.

    Raises redis.exceptions.RedisError; whether the token is used up is unknown then.
    """
    held = await redis.getdel(_key(token))
    try:
        return None if held is None else TokenGrant.model_validate_json(held)
    except ValidationError:
        return None


def _key(token: str) -> str:
    return _PREFIX + digest_of(token)
