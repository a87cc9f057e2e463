"""Places for batches that come in: bounded in all and for each account, free again at the end."""

import contextlib

import pytest

from workers.gateway.configuring.batch_places import BatchPlaces
from workers.gateway.rest_errors import ApiError


def status(places: BatchPlaces, account: str) -> int:
    with pytest.raises(ApiError) as caught, places.take(account):
        pass
    assert int(caught.value.headers["Retry-After"]) > 0
    return caught.value.status


def test_an_account_that_has_all_of_its_places_locks_no_other_out() -> None:
    places = BatchPlaces(at_once=3, of_account=2)
    with contextlib.ExitStack() as held:
        for account in ("a", "a", "b"):
            held.enter_context(places.take(account))
        assert status(places, "a") == 429
        assert status(places, "b") == 503
        assert status(places, "c") == 503
    with places.take("a"), places.take("a"), places.take("c"):
        pass


def test_a_place_is_free_again_after_a_failure() -> None:
    places = BatchPlaces(at_once=1, of_account=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="planted"), places.take("a"):
            raise ValueError("planted")
    with places.take("a"):
        assert status(places, "a") == 429
