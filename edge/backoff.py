"""How long to wait before the next attempt to connect."""

from collections.abc import Callable, Iterator


def full_jitter(
    random: Callable[[], float], *, first_s: float = 0.5, cap_s: float = 30.0
) -> Iterator[float]:
    """Yield endless waits in seconds: uniform between 0 and a ceiling that doubles up to `cap_s`.

    `random` returns numbers in [0, 1). Full jitter keeps a fleet that lost its server together
    from coming back together (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    ceiling = first_s
    while True:
        yield random() * ceiling
        ceiling = min(cap_s, ceiling * 2)
