"""Whether a call's arguments fit the JSON Schema of its tool, at a bounded cost.

The schema is somebody's, the arguments are a model's, and many turns share the event loop that
this runs on: each step is counted, and what takes too many is not judged. Nothing is fetched.
`pattern` and `format` are for the model's eyes alone and not held against arguments: a regular
expression of somebody's can take for ever.
"""

from typing import Any, Final

from workers.errors import InvalidToolError, ToolError
from workers.providers.chat_tool_calls import MAX_ARGUMENTS
from workers.providers.tools.assertions import shown
from workers.providers.tools.dialects import DRAFT_7, dialect
from workers.providers.tools.judging import Judge, Place, TooManyStepsError
from workers.providers.tools.keywords import OF_DRAFT_7, OF_DRAFT_2020_12
from workers.providers.tools.references import References
from workers.strict_json import NotJsonError, parse_json

MAX_STEPS: Final = 20_000
"""Steps that judging one call's arguments may take, some microseconds each."""
MAX_MISTAKES: Final = 5
"""Mistakes that the model is told of at once."""
CANNOT: Final = "arguments: the schema of the tool cannot be applied to them"


def mistakes_in(schema: dict[str, Any], arguments: dict[str, Any]) -> list[str]:
    """Return what is wrong with the arguments, at most five lines fit for the model."""
    try:
        is_old = dialect(schema) == DRAFT_7
        rules = OF_DRAFT_7 if is_old else OF_DRAFT_2020_12
        judge = Judge(References(schema), rules, MAX_STEPS, ref_alone=is_old)
        found = judge.judge(schema, arguments, None, set())
    except (InvalidToolError, TooManyStepsError, RecursionError):
        return [CANNOT]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # A schema of before it was looked at closely.
        return [CANNOT]
    return [f"{_spelt(place)}: {text}" for place, text in found[:MAX_MISTAKES]]


def _spelt(place: Place) -> str:
    names: list[str] = []
    while place is not None:
        place, name = place
        names.append(shown(name).strip("'"))
    return ".".join(reversed(names))[:200] or "arguments"


def read_arguments(text: str) -> dict[str, Any]:
    """Return arguments as the model wrote them; raises ToolError, which says what is wrong."""
    if len(text) > MAX_ARGUMENTS:
        raise ToolError(f"the arguments are longer than {MAX_ARGUMENTS} characters")
    try:
        found = parse_json(text or "{}")
    except NotJsonError as error:
        raise ToolError(f"the text of the arguments {error}") from None
    if isinstance(found, dict):
        return found
    raise ToolError("the arguments are no JSON object")
