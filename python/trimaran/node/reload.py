"""A reload of a running node: all roles are asked first, then all change, or none does.

A role whose `RoleSpec.reloads` is set answers two requests: `check` (what of the new settings it
cannot change while it runs) and `reload`. The sockets of new listeners are opened here and passed
over; those of old ones stay open all the time. Every other role takes its new settings up when it
is started the next time.
"""

from collections.abc import Mapping, Sequence

from trimaran.node.keeper import Keeper, Listeners, RoleSpec
from trimaran.node.lifecycle import State
from trimaran.node.role_process import RoleError
from trimaran.system.errors import CannotRunError

UNCHANGED, RELOADED = "unchanged", "reloaded"
_CHECK_TIMEOUT_S = 30.0  # names of peers may have to be resolved


class ReloadRefusedError(Exception):
    """Nothing was changed; says why."""


async def reload(keepers: Mapping[str, Keeper], specs: Sequence[RoleSpec]) -> dict[str, str]:
    """Make `specs` what the keepers keep; what became of each role, in words.
    Raises ReloadRefusedError, and then nothing has changed."""
    wanted = {spec.name: spec for spec in specs}
    outcome = {name: UNCHANGED for name in keepers if name in wanted}
    changed = [name for name in outcome if wanted[name].settings != keepers[name].spec.settings]
    live = [name for name in changed if _is_live(keepers[name])]
    notes = {name: await _check(keepers[name], wanted[name]) for name in live}
    opened = _open_all({keepers[name]: wanted[name] for name in live})
    for name in changed:
        keeper, spec = keepers[name], wanted[name]
        if name not in live:
            outcome[name] = _defer(keeper, spec)
            continue
        try:
            await keeper.adopt(spec, opened[keeper])
            outcome[name] = "; ".join([RELOADED, *notes[name]])
        except RoleError as error:
            outcome[name] = f"not reloaded: {error}"
    gone = "no longer there: it runs until the node is restarted"
    outcome |= dict.fromkeys(keepers.keys() - wanted, gone)
    return outcome | dict.fromkeys(wanted.keys() - keepers, "new: restart the node to start it")


def _is_live(keeper: Keeper) -> bool:
    """Whether it must change while it runs. Raises ReloadRefusedError when it can do so later."""
    if not keeper.spec.reloads or keeper.state in (State.STOPPED, State.FAILED):
        return False
    if keeper.state is not State.RUNNING:
        raise ReloadRefusedError(
            f"{keeper.spec.name} is {keeper.state}: reload again once it runs, or stop it first"
        )
    return True


async def _check(keeper: Keeper, spec: RoleSpec) -> list[str]:
    try:
        notes: list[str] = await keeper.ask("check", {"settings": spec.settings}, _CHECK_TIMEOUT_S)
    except RoleError as error:
        raise ReloadRefusedError(f"{spec.name}: {error}") from error
    return notes


def _open_all(wanted: Mapping[Keeper, RoleSpec]) -> dict[Keeper, Listeners]:
    """Every role's listening sockets, old and new ones; all that are wanted, or none is opened."""
    opened: dict[Keeper, Listeners] = {}
    try:
        for keeper, spec in wanted.items():
            opened[keeper] = keeper.open_listeners(spec)
    except CannotRunError as error:
        for keeper, listeners in opened.items():
            keeper.discard(listeners)
        raise ReloadRefusedError(str(error)) from error
    return opened


def _defer(keeper: Keeper, spec: RoleSpec) -> str:
    keeper.spec = spec
    if keeper.state in (State.STOPPED, State.FAILED):
        return f"changed; it is {keeper.state}, and takes it up once it is started"
    name = spec.name
    return f"changed, but needs a restart: `trimaran stop {name}` and `trimaran start {name}`"
