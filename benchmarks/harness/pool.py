"""The preloaded servers of a session: which of them a race's heat forks from, and when a new one takes a place."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass, field

from benchmarks.harness.client import Server, Site, WorkerError

SERVERS = 3
"""Of each site. Heats fork from them in turns, all contenders of a heat from servers of one number.

How a server's memory happens to lie goes to all that it forks, heat after heat, and with one server shows in no
interval: of six runs of a race of plain Python, two missed by up to 4% what the others agreed on. With three, none of
six missed.
"""

HEATS_OF_A_SERVER = 3
"""That one race forks from a server, before a new one takes its place, which costs an import. Of several sites: one.

Contenders of one server share its luck, and it cancels but for a little: of plain Python, heats of one server differed
by 1.8% and servers by another 0.6%. Contenders of two sites do not: there, equal ones differed by 1.2% between heats of
a server and by another 1.3% between servers.
"""


@dataclass
class Preloaded:
    """A server, and which heats of each race have forked from it."""

    server: Server
    heats: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


class Pool:
    """Servers of all sites; they import in the background until they are waited for."""

    def __init__(self) -> None:
        self._places: dict[tuple[Site, int], Preloaded] = {}

    def preload(self, site: Site) -> None:
        """Begin to import what contenders of a site need."""
        for number in range(SERVERS):
            if (site, number) not in self._places:
                self._places[site, number] = Preloaded(Server(site))

    def server(self, site: Site, race: str, heat: int, alone: bool) -> Server:
        """The server from which a race's heat forks; a new one where the last one died, or has had its heats.

        Args:
            site: of the contender, preloaded.
            race: the race's name.
            heat: counted from 0; it has one server of a site, for all its contenders.
            alone: whether all contenders of the race are of this site.
        """
        place = site, heat % SERVERS
        held = self._places[place]
        heats = held.heats[race] | {heat}
        if not held.server.alive or len(heats) > (HEATS_OF_A_SERVER if alone else 1):
            held.server.close()
            held = self._places[place] = Preloaded(Server(site))
        held.heats[race].add(heat)
        return held.server

    def wait(self) -> None:
        """Wait until none imports any more, which would disturb a race; who forks from one that failed is told why."""
        for held in self._places.values():
            with contextlib.suppress(WorkerError):
                held.server.wait_until_ready()

    def close(self) -> None:
        """End the servers and their workers."""
        for held in self._places.values():
            held.server.close()
