"""What must hold in every simulated world, and the misfortunes that try to break it."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

from vrrp_world import CLIENT, HOLDS, Node, Wire, World

from trimaran.vrrp.table import State

TWO_MASTERS_BOUND = 1.2  # intervals: one until the advert, its delay, and clocks that run slow
NO_MASTER_BOUND = 5.0  # intervals: three, the longest skew, and an advert late on the wire
SETTLED = 10.0  # intervals


@contextmanager
def explained(world: World, seed: int) -> Iterator[None]:
    """A failure tells how to see it again, and what had happened."""
    try:
        yield
    except AssertionError as error:
        story = "\n".join(world.history[-60:])
        raise AssertionError(f"TRIMARAN_SIM_SEED={seed}\n{story}\n{error}") from error


class Watch:
    """Holds the invariants while the world turns."""

    def __init__(self, world: World, interval_s: float = 1.0) -> None:
        self.world, self.interval_s = world, interval_s
        self.whole_since: float | None = None
        self._two_since: float | None = None
        self._none_since: float | None = None

    def __call__(self) -> None:
        world = self.world
        for node in world.nodes:
            if node.router is not None and node.awake:
                held = node.lease_ends > world.now
                if held and node.state is State.BACKUP and node.router.leftover:
                    continue  # a killed process's lease, until another master is heard
                assert held == (node.state in HOLDS), f"{node.number} {node.state}, held: {held}"
        if self.whole_since is None:
            self._two_since = self._none_since = None
            return
        masters = world.masters()
        self._two_since = self._began(len(masters) > 1, self._two_since, TWO_MASTERS_BOUND)
        self._none_since = self._began(not masters, self._none_since, NO_MASTER_BOUND)

    def _began(self, holds: bool, since: float | None, bound: float) -> float | None:
        if not holds:
            return None
        since = self.world.now if since is None else since
        lasted = self.world.now - since
        assert lasted <= bound * self.interval_s, (
            f"masters {self.world.masters()} for {lasted:.2f} s"
        )
        return since


def misfortune(world: World, node: Node, dice: random.Random, unit_s: float = 1.0) -> None:
    """One bad thing happens to a node, for up to eight units."""
    others = [each.number for each in world.nodes if each is not node]
    match dice.randrange(8):
        case 0:
            world.crash(node)
        case 1:
            world.stop(node)
        case 2:
            world.start(node)
        case 3:
            world.sleep(node)
            world.at(world.now + unit_s * dice.uniform(0.01, 8), lambda: world.wake(node))
        case 4:
            world.cut_carrier(node, True)
            world.at(
                world.now + unit_s * dice.uniform(0.01, 8), lambda: world.cut_carrier(node, False)
            )
        case 5:  # deaf
            world.wire.cuts |= {(other, node.number) for other in others}
        case 6:  # dumb
            world.wire.cuts |= {(node.number, other) for other in (*others, CLIENT)}
        case 7:  # silently cut off
            world.wire.cuts |= {(other, node.number) for other in others}
            world.wire.cuts |= {(node.number, other) for other in (*others, CLIENT)}


def make_whole(world: World) -> None:
    """Everything is mended at once, and everybody runs."""
    world.wire = Wire()
    for node in world.nodes:
        world.wake(node)
        world.cut_carrier(node, False)
        world.start(node)
