"""An attempt at a turn that cannot go on, where another one can."""


class AttemptLostError(Exception):
    """What the attempt depends on is away, and with it the way to say so.

    Whoever hears nothing more of it sends the turn again, to go on behind what was heard.
    """
