"""A TaskGroup raises groups; whoever decides on an error wants the error itself."""


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error in the group, however deeply it is nested."""
    first = group.exceptions[0]
    return first_error(first) if isinstance(first, BaseExceptionGroup) else first
