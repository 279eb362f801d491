"""A sync group: virtual routers that are master together or not at all.

    a fault of one          is a fault of all
    one wants to be master  it waits until every other wants to be, or is
    one ceases to be master the others cease with it

A member never takes over by itself (`Router.held`): so one that is master beside one that is not
has just lost a mate.
"""

from trimaran.vrrp.router import Router
from trimaran.vrrp.table import State

FAULT_KEY = "sync group"


class Group:
    """Call `settle` after every input to a member, before its effects are taken."""

    def __init__(self, name: str, members: list[Router]) -> None:
        self.name = name
        self.members = members
        for member in members:
            member.held = True

    def settle(self, now: float) -> None:
        """Bring the members together."""
        self._share_faults(now)
        states = {member.state for member in self.members}
        if State.MASTER in states and states & {State.BACKUP, State.FAULT}:
            self._fall_back(now)
        elif all(member.wants or member.state is State.MASTER for member in self.members):
            for member in self.members:
                member.join_masters(f"every member of group {self.name} can be master", now)

    def _share_faults(self, now: float) -> None:
        broken = {
            member.settings.name: [
                cause for key, cause in member.standing.faults.items() if key != FAULT_KEY
            ]
            for member in self.members
        }
        for member in self.members:
            others = [
                f"{name} of group {self.name}: {'; '.join(causes)}"
                for name, causes in broken.items()
                if causes and name != member.settings.name
            ]
            member.set_fault(FAULT_KEY, others[0] if others else None, now)

    def _fall_back(self, now: float) -> None:
        lost = next(member for member in self.members if member.state is not State.MASTER)
        for member in self.members:
            member.leave_masters(
                f"{lost.settings.name} of group {self.name} is {lost.state.value}", now
            )
