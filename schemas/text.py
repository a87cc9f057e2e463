"""The texts of an agent: how long each may be, and what has to be in it."""

from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character")
    return text


def with_a_word(text: str) -> str:
    """Return a text that can be spoken; raises ValueError where it holds no letter or digit."""
    if not any(character.isalnum() for character in text):
        raise ValueError("holds no word to say")
    return text


def _not_blank(text: str) -> str:
    if text.isspace():
        raise ValueError("holds nothing but space")
    return text


NO_NUL: Final = AfterValidator(_without_nul)
"""Stands behind all constraints: behind a function, pydantic speaks of items and strips late."""
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=256, strip_whitespace=True), NO_NUL
]
Prompt = Annotated[str, StringConstraints(min_length=1, max_length=32_768), NO_NUL]
ExternalId = Annotated[str, StringConstraints(min_length=1, max_length=256), NO_NUL]
Greeting = Annotated[str, StringConstraints(min_length=1, max_length=2_048), NO_NUL]
GivenPrompt = Annotated[Prompt, AfterValidator(_not_blank)]
GivenGreeting = Annotated[Greeting, AfterValidator(with_a_word)]
Keyterm = Annotated[str, StringConstraints(min_length=1, max_length=100), NO_NUL]
Line = Annotated[str, StringConstraints(max_length=200, strip_whitespace=True), NO_NUL]
