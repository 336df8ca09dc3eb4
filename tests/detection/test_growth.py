"""Growth: from a part of a campaign to all of it, and not to the people around it."""

import numpy as np
from worlds import World

from coterie.detection.growth import grow
from coterie.detection.items import make_items, neighbourhood


def test_the_rest_of_a_campaign_joins_and_people_do_not() -> None:
    world = World(3)
    world.people(40)
    members = world.campaign("team", 12)
    window = world.window()
    items = make_items(window.raw, window.rows.account, len(window.rows.account_ids))
    number = {name: row for row, name in enumerate(window.rows.account_ids)}
    part = np.flatnonzero(np.isin(items.principal, [number[name] for name in members[:4]]))
    *_, last = grow(items, neighbourhood(items), part)
    joined = {window.rows.account_ids[row] for row in np.unique(items.principal[last])}
    assert joined == set(members)


def test_what_has_nothing_near_it_does_not_grow() -> None:
    world = World(4)
    world.people(20)
    window = world.window()
    items = make_items(window.raw, window.rows.account, len(window.rows.account_ids))
    alone = np.flatnonzero(items.principal == 0)
    for pool in grow(items, neighbourhood(items), alone):
        assert set(np.unique(items.principal[pool])) == {0}
