"""Sums, as people say and write them; exact, and bounded in every direction."""

import math
import re
from fractions import Fraction
from typing import Final

from workers.llm_gateway.number_words import read_number

MAX_TOKENS: Final = 60
MAX_DIGITS: Final = 15
LARGEST: Final = 10**15
DECIMALS: Final = 4

_SPOKEN: Final = tuple(
    (re.compile(pattern), symbol)
    for pattern, symbol in (
        (r"(?<=[a-z])-(?=[a-z])", " "),
        (r"\b(?:raised )?to the power (?:of )?", " ^ "),
        (r"\b(?:the )?square root of\b|√", " sqrt "),
        (r"\bsquared\b", " ^ 2 "),
        (r"\bcubed\b", " ^ 3 "),
        (r"(?:%|\bpercent\b|\bper cent\b) of\b", " pct "),
        (r"\bmultiplied by\b|\btimes\b|×|(?<=\d) ?x ?(?=\d)", " * "),  # noqa: RUF001  # the sign
        (r"\bdivided by\b|\bover\b|÷", " / "),
        (r"\bplus\b", " + "),
        (r"\bminus\b|\bnegative\b|−", " - "),  # noqa: RUF001  # the sign
        (r"\*\*", " ^ "),
    )
)
_TOKEN: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|[a-z]+|[-+*/^()]")
_BINARY: Final = frozenset({"+", "-", "*", "/", "^", "pct", "sqrt"})


class NotASumError(ValueError):
    """What was said is no sum."""


class TooLargeError(ValueError):
    """A number on the way grows beyond what can be said."""


def evaluate(text: str) -> Fraction:
    """Return the value of a sum in words or signs, such as "two plus 3 * 4".

    Raises NotASumError where it is none, TooLargeError, and ZeroDivisionError.
    """
    tokens = _tokens(text.lower())
    if not _BINARY.intersection(tokens):
        raise NotASumError
    parser = _Parser(tokens)
    value = parser.sum()
    if parser.position != len(tokens):
        raise NotASumError
    return value


def say(value: Fraction) -> str:
    """Return a value as it can be spoken: "12", "minus 3.5", "about 0.3333"."""
    sign = "minus " if value < 0 else ""
    size = abs(value)
    if size.denominator == 1:
        return f"{sign}{size.numerator}"
    shown = round(size, DECIMALS)
    text = f"{float(shown):.{DECIMALS}f}".rstrip("0").rstrip(".")
    about = "" if shown == size else "about "
    return f"{about}{sign if shown else ''}{text}"


def _tokens(text: str) -> list[str]:
    for pattern, symbol in _SPOKEN:
        text = pattern.sub(symbol, text)
    tokens = _TOKEN.findall(text)
    if len(tokens) > MAX_TOKENS or _TOKEN.sub("", text).strip():
        raise NotASumError
    return tokens


class _Parser:
    """Reads tokens from left to right; each method takes one level of precedence."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self.position = 0

    def sum(self) -> Fraction:
        value = self._product()
        while operator := self._take("+", "-"):
            right = self._product()
            value = _bounded(value + right if operator == "+" else value - right)
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while operator := self._take("*", "/", "pct"):
            right = self._signed()
            if operator == "/":
                value = _bounded(value / right)
            else:
                value = _bounded(value * right / (100 if operator == "pct" else 1))
        return value

    def _signed(self) -> Fraction:
        return -self._signed() if self._take("-") else self._power()

    def _power(self) -> Fraction:
        value = _root(self._power()) if self._take("sqrt") else self._atom()
        return _raise(value, self._signed()) if self._take("^") else value

    def _atom(self) -> Fraction:
        if self._take("("):
            value = self.sum()
            if not self._take(")"):
                raise NotASumError
            return value
        token = self._tokens[self.position] if self.position < len(self._tokens) else ""
        if token[:1].isdigit():
            self.position += 1
            return _digits(token)
        found = read_number(self._tokens, self.position)
        if found is None:
            raise NotASumError
        value, self.position = found
        return value

    def _take(self, *wanted: str) -> str | None:
        if self.position < len(self._tokens) and self._tokens[self.position] in wanted:
            self.position += 1
            return self._tokens[self.position - 1]
        return None


def _digits(token: str) -> Fraction:
    plain = token.replace(",", "")
    if len(plain) > MAX_DIGITS:
        raise TooLargeError
    return Fraction(plain)


def _raise(value: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise NotASumError
    bits = max(value.numerator.bit_length(), value.denominator.bit_length())
    if bits * abs(exponent.numerator) > 4 * LARGEST.bit_length():
        raise TooLargeError
    return _bounded(value**exponent.numerator)


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise NotASumError
    exact = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    return exact if exact * exact == value else Fraction(math.sqrt(value))


def _bounded(value: Fraction) -> Fraction:
    if abs(value) > LARGEST:
        raise TooLargeError
    return value
