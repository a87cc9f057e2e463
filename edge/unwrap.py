"""One error out of the group that a TaskGroup raises."""

from typing import TypeVar

Wanted = TypeVar("Wanted", bound=Exception)


def first_of(group: ExceptionGroup[Wanted]) -> Wanted:
    """Return the first error in the group, however deep it lies."""
    found: Wanted | ExceptionGroup[Wanted] = group
    while isinstance(found, ExceptionGroup):
        found = found.exceptions[0]
    return found
