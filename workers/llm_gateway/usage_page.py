"""`GET /v1/usage`: what an account used, per day and model."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from workers.errors import StorageUnavailableError
from workers.llm_gateway.errors import CompletionError
from workers.llm_gateway.usage import KINDS, Usage

MOST_DAYS: Final = 366
USUAL_DAYS: Final = 30


async def usage_page(
    usage: Usage, account: str, first: date | None, last: date | None
) -> dict[str, Any]:
    """Return the counts from `first` to `last` (UTC, both included; by default the last 30 days).

    Raises CompletionError: 400 for an impossible range, 503 where Redis is away.
    """
    last = last or datetime.now(UTC).date()
    # The calendar's first days have no 29 before them.
    first = first or date.fromordinal(max(1, last.toordinal() - USUAL_DAYS + 1))
    length = (last - first).days + 1
    if not 0 < length <= MOST_DAYS:
        message = f"`from` is not after `to`, and they are {MOST_DAYS} days apart at most"
        raise CompletionError(400, message, param="from")
    days = [first + timedelta(days=number) for number in range(length)]
    try:
        found = await usage.days(account, days)
    except StorageUnavailableError:
        message = "the counts cannot be read at the moment"
        raise CompletionError(503, message, type_="server_error") from None
    rows = [
        {"day": day, "model": model, **{kind: counts[kind] for kind in KINDS}}
        | {"total_tokens": counts["prompt_tokens"] + counts["completion_tokens"]}
        for (day, model), counts in sorted(found.items())
    ]
    return {"object": "list", "account": account, "data": rows}
