"""Holding values against a JSON Schema, step by counted step."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from workers.providers.tools.assertions import ASSERTIONS, canonical, shown, size
from workers.providers.tools.references import References

CHEAP: Final = 8
"""So many names or values are looked through in the time of one step."""
_LAST: Final = ("unevaluatedItems", "unevaluatedProperties")

Place = tuple[Any, Any] | None
"""Where a value is: the place of what it is in, and its name or index there."""
Mistake = tuple[Place, str]


class TooManyStepsError(Exception):
    """It takes longer than it may."""


class Judge:
    """Holds values against the parts of one schema, in at most so many steps."""

    def __init__(
        self, references: References, rules: "Mapping[str, Rule]", steps: int, *, ref_alone: bool
    ) -> None:
        """Take the rules of the keywords; `ref_alone` is that nothing counts beside a `$ref`."""
        self._references = references
        self._rules = rules
        self._left = steps
        self._ref_alone = ref_alone
        self._listed: dict[int, frozenset[Hashable]] = {}

    def judge(self, schema: Any, value: Any, place: Place, seen: set[Hashable]) -> list[Mistake]:
        """Return what is wrong with a value; raises TooManyStepsError.

        Names and indexes in it that were judged are added to `seen`.
        """
        self.count(1)
        if isinstance(schema, bool):
            return [] if schema else [(place, f"{shown(value)} must not be there")]
        if self._ref_alone and "$ref" in schema:
            schema = {"$ref": schema["$ref"]}
        case = Case(self, schema, value, place, seen)
        mistakes = []
        for keyword in schema:
            if keyword not in _LAST:
                mistakes += self._hold(keyword, case)
        for keyword in _LAST:
            if keyword in schema:
                mistakes += self._hold(keyword, case)
        return mistakes

    def _hold(self, keyword: str, case: "Case") -> list[Mistake]:
        self.count(1)
        if (assertion := ASSERTIONS.get(keyword)) is not None:
            mistake = assertion(case.schema[keyword], case.value)
            return [] if mistake is None else [(case.place, mistake)]
        rule = self._rules.get(keyword)
        return [] if rule is None else rule(case.schema[keyword], case)

    def count(self, steps: int) -> None:
        """Take note of steps; raises TooManyStepsError beyond the bound."""
        self._left -= steps
        if self._left < 0:
            raise TooManyStepsError

    def look_through(self, number: int) -> None:
        """Take note that so many names or values are looked through."""
        self.count(number // CHEAP)

    def resolve(self, reference: Any) -> Any:
        """Return the schema that a `$ref` leads to; raises LookupError or ValueError."""
        return self._references.resolve(reference)

    def canonical(self, value: Any) -> Hashable:
        """Return what values that are equal to JSON Schema have in common."""
        self.count(size(value) // 2)
        return canonical(value)

    def listed(self, values: list[Any]) -> frozenset[Hashable]:
        """Return the canonical forms of values in the schema."""
        if id(values) not in self._listed:
            self._listed[id(values)] = frozenset(map(self.canonical, values))
        return self._listed[id(values)]


@dataclass(frozen=True)
class Case:
    """A value that is held against a schema."""

    judge: Judge
    schema: dict[str, Any]
    value: Any
    place: Place
    seen: set[Hashable] = field(default_factory=set)

    def against(self, schema: Any) -> list[Mistake]:
        """Hold the same value against another schema."""
        seen: set[Hashable] = set()
        mistakes = self.judge.judge(schema, self.value, self.place, seen)
        if not mistakes:
            self.judge.look_through(len(seen))
            self.seen.update(seen)
        return mistakes

    def parts(self, schema: Any, names: Iterable[Any]) -> list[Mistake]:
        """Hold parts of the value against a schema."""
        mistakes = []
        for name in names:
            mistakes += self.judge.judge(schema, self.value[name], (self.place, name), set())
            self.seen.add(name)
        return mistakes

    def wrong(self, text: str) -> list[Mistake]:
        """Return a mistake of the value itself."""
        return [(self.place, text)]


Rule = Callable[[Any, Case], list[Mistake]]
"""Gets what a keyword says, and the case; returns what is wrong."""
