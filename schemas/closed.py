"""The rule every message here follows: frozen, and an unknown field is an error."""

from pydantic import BaseModel, ConfigDict


class Closed(BaseModel):
    """A frozen model that refuses fields it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)
