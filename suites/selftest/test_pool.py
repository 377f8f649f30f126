"""Preloaded servers: who forks from which, and when a new one takes a place."""

from types import SimpleNamespace

import pytest

from benchmarks.harness import pool
from benchmarks.harness.client import Site
from benchmarks.harness.pool import HEATS_OF_A_SERVER, SERVERS, Pool

HERE, THERE = Site("tensorflow", "cpu"), Site("tensorflow", "cpu", tree="elsewhere")
MOST = SERVERS * HEATS_OF_A_SERVER


class Ready(SimpleNamespace):
    """A server that is there, and may be closed."""

    def __init__(self, site: Site) -> None:
        super().__init__(site=site, alive=True)

    def close(self) -> None:
        self.alive = False


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Of two sites."""
    monkeypatch.setattr(pool, "Server", Ready)
    servers = Pool()
    for site in (HERE, THERE):
        servers.preload(site)
    return servers


def test_servers_take_turns_by_heats(servers: Pool) -> None:
    """Wrong variants: one server for all heats; a new one for each, which costs an import; one for all sites."""
    heats = [servers.server(HERE, "race", heat, alone=True) for heat in range(MOST)]
    turns = [heats[start::SERVERS] for start in range(SERVERS)]
    assert all(server is turn[0] for turn in turns for server in turn)
    assert len({id(turn[0]) for turn in turns}) == SERVERS > 1
    assert all(servers.server(THERE, "race", 0, alone=True) is not server for server in heats)
    heats[0].close()
    assert servers.server(HERE, "race", 0, alone=True).alive
    servers.preload(HERE)
    assert servers.server(HERE, "race", 1, alone=True) is heats[1], "who enters later finds them"


def test_a_race_of_many_heats_meets_new_servers(servers: Pool) -> None:
    """Wrong variants: three servers for all heats; new ones for a race that has not met the last ones."""
    first, *_ = (servers.server(HERE, "race", heat, alone=True) for heat in range(MOST))
    second = servers.server(HERE, "race", MOST, alone=True)
    assert second is not first
    assert (first.alive, second.alive) == (False, True), "an old one is ended"
    assert servers.server(HERE, "race", MOST, alone=True) is second, "all contenders of a heat fork from one"
    assert servers.server(HERE, "other", 0, alone=True) is second
    assert servers.server(HERE, "race", MOST + SERVERS, alone=True) is second


def test_contenders_of_two_sites_meet_new_servers_in_every_heat(servers: Pool) -> None:
    """Wrong variant: what two servers differ by is in three heats, and is taken for what two revisions differ by."""
    met = [servers.server(site, "race", heat, alone=False) for heat in range(MOST) for site in (HERE, THERE)]
    assert len({id(server) for server in met}) == 2 * MOST
    assert sum(server.alive for server in met) == 2 * SERVERS
