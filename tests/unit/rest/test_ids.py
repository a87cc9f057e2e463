from schemas.ids import agent_id_of, is_id


def test_a_name_of_ones_own_always_gives_the_same_agent() -> None:
    assert agent_id_of("acme", "kitchen") == agent_id_of("acme", "kitchen")
    assert is_id("agent", agent_id_of("acme", "kitchen"))


def test_no_other_account_or_name_gives_that_agent() -> None:
    names = [("acme", "kitchen"), ("acm", "ekitchen"), ("", "acmekitchen"), ("acme", "kitchen ")]
    assert len({agent_id_of(*each) for each in names}) == len(names)
