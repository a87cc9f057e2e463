"""The built-in responder: a few questions answered, and honest about being no language model."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from workers.llm_gateway.arithmetic import NotASumError, TooLargeError, evaluate, say

SETTING: Final = "EDGEWISE_MANAGED_LLM_BASE_URL"
NO_MODEL: Final = (
    "I am the built-in responder of Edgewise, and no language model is configured. "
    f"To talk to one, set {SETTING} to its address."
)
ABILITIES: Final = "I can tell the time and the date, work out sums, and repeat after you."
HELLO: Final = f"Hello! I am the built-in responder of Edgewise. {ABILITIES}"
LONGEST: Final = 1_000
"""Characters of a question that are looked at."""

_REPEAT: Final = re.compile(
    r"^(?:please |can you |could you )*(?:repeat|say) after me\b[\s,.:;\"]*(?P<words>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_OPENING: Final = re.compile(
    r"^(?:(?:hello|hi|hey|okay|ok|so|well|please|now|and|can you|could you|tell me|work out"
    r"|calculate|compute|what is|whats|what are|how much is|how much are|what does) )+"
)
_CLOSING: Final = re.compile(r" (?:equals?|please|is|make|makes)$")
_TIME: Final = re.compile(
    r"\bwhats? (?:is )?(?:the )?(?:current )?time\b|\btime (?:is it|it is)\b"
    r"|\b(?:tell|give|know)\b.*\bthe (?:current )?time\b|^(?:the )?(?:current )?time$"
)
_DATE: Final = re.compile(
    r"\b(?:what|which|whats) (?:is )?(?:the )?(?:todays |current )?(?:day|date|month|year|weekday)"
    r"(?: (?:is it|it is|is today|do we have|of the week)\b|$| today\b)"
    r"|\b(?:todays date|the date today|whats today|what is today)\b"
    r"|\b(?:tell|give|know)\b.*\b(?:the|todays) date\b|^(?:the )?date$"
)
_HELLO: Final = re.compile(
    r"^(?:hello|hi|hey|good (?:morning|afternoon|evening|day))(?: (?:there|again|agent|you))?"
    r"(?: how are you(?: doing| today)*)?$|^how are you(?: doing| today)*$"
)
_ABILITIES: Final = re.compile(
    r"\bwhat (?:can|do|could) you (?:do|know)\b|\bhow can you help\b|\bhelp(?: me)?$"
    r"|^(?:who|what) are you$|\bwhat can i (?:ask|say)\b"
)
_THANKS: Final = re.compile(r"^(?:thanks|thank you)\b")
_BYE: Final = re.compile(r"^(?:good ?bye|bye|bye bye|see you)\b")


def respond(said: str, now: datetime) -> str:
    """Return a short answer that can be spoken; `now` is the moment, in the speaker's zone."""
    said = said.strip()[:LONGEST]
    if match := _REPEAT.match(said):
        return match["words"].strip(" \t\n\"'") or "Say: repeat after me, and then the words."
    words = _words(said)
    answers: tuple[tuple[re.Pattern[str], Callable[[], str]], ...] = (
        (_TIME, lambda: _time(now)),
        (_DATE, lambda: _date(now)),
        (_ABILITIES, lambda: f"I am the built-in responder of Edgewise. {ABILITIES}"),
        (_HELLO, lambda: HELLO),
        (_THANKS, lambda: "You are welcome."),
        (_BYE, lambda: "Goodbye!"),
    )
    sum_said = _sum(said)
    if sum_said is not None:
        return sum_said
    return next((answer() for pattern, answer in answers if pattern.search(words)), NO_MODEL)


def _words(said: str) -> str:
    """Reduce what was said to lower-case words with one space between them."""
    plain = said.lower().replace("'", "").replace("’", "")  # noqa: RUF001  # typographic
    return " ".join(re.findall(r"[\w:]+", plain))


def _sum(said: str) -> str | None:
    plain = said.lower().replace("'", "").replace("’", "")  # noqa: RUF001  # typographic
    plain = re.sub(r"[?!=]|[.,;:](?=\s|$)", " ", plain)
    plain = " ".join(plain.split())
    plain = _CLOSING.sub("", _OPENING.sub("", f"{plain} ").strip())
    try:
        return f"That is {say(evaluate(plain))}."
    except NotASumError:
        return None
    except TooLargeError:
        return "That number is too large for me."
    except ZeroDivisionError:
        return "I cannot divide by zero."


def _time(now: datetime) -> str:
    hour = now.hour % 12 or 12
    minutes = f":{now.minute:02}" if now.minute else ""
    return f"It is {hour}{minutes} {'AM' if now.hour < 12 else 'PM'}."  # noqa: PLR2004  # noon


def _date(now: datetime) -> str:
    return f"Today is {now:%A}, the {_ordinal(now.day)} of {now:%B} {now.year}."


def _ordinal(day: int) -> str:
    teen = 10 < day % 100 < 14  # noqa: PLR2004  # eleventh, twelfth, thirteenth
    return f"{day}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"
