"""What is wrong with an event, by our own names alone.

A type or a field that is none of ours was made up by the sender and may hold a secret.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def wrong_in_words(error: Any, kinds: Mapping[str, type[BaseModel]]) -> str:
    """Say where an event is wrong and how, from one of pydantic's errors about these kinds."""
    problem, place = error["type"], error["loc"]
    if problem == "union_tag_not_found":
        return "type: Field required"
    if problem == "union_tag_invalid":
        return f"type: unknown event; one of: {', '.join(kinds)}"
    if problem == "extra_forbidden":
        return f"{place[0]}: unknown field; one of: {', '.join(kinds[place[0]].model_fields)}"
    return f"{'.'.join(str(part) for part in place) or 'event'}: {error['msg']}"
