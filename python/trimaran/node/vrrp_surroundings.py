"""What virtual routers need around them, from the start of the vrrp process to its end: virtual
MACs, static addresses, routes and rules, and a filter for packets that are not accepted."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from trimaran.system import no_accept, sysctl
from trimaran.system.belongings import BelongingsKeeper
from trimaran.system.errors import CannotRunError
from trimaran.system.leases import FOR_EVER, Leases
from trimaran.system.netlink import Netlink, NetworkError
from trimaran.system.vmac import Vmacs, standard_mac
from trimaran.vrrp.effects import Event
from trimaran.vrrp.packet import OWNER
from trimaran.vrrp.settings import RouterSettings, VrrpSettings


class Surroundings:
    """`tell` is called for what the kernel refused."""

    def __init__(self, settings: VrrpSettings, tell: Callable[[str, Event], None]) -> None:
        self._settings = settings
        self._tell = tell
        self._vmacs = Vmacs()
        self._leases = Leases()
        self._belongings = BelongingsKeeper()
        self._refused: dict[str, str] = {}
        self._unaccepted = [
            address.ip
            for router in settings.routers
            if not router.accept and router.priority != OWNER
            for address in router.carried
        ]
        self._table = f"trimaran-{settings.node}"

    def put(self) -> None:
        """At the start; what a killed process left behind is taken over or removed. Raises
        CannotRunError."""
        for router in self._settings.routers:
            self._belongings.forget_leftovers(router.belongings)
            if router.promote_secondaries:
                with suppress(OSError):  # it is told below, as a missing interface
                    sysctl.write(f"net/ipv4/conf/{router.interface}/promote_secondaries", "1")
        if self._unaccepted:
            no_accept.apply(self._table, self._unaccepted)

    def ensure(self, netlink: Netlink) -> None:
        """Whenever interfaces may have changed, before they are looked at."""
        for router in self._settings.routers:
            if router.vmac is not None:
                self._try(router.name, partial(self._make_vmac, router))
        for name, address in self._settings.static:
            link = netlink.link(name)
            if link is not None:
                hold = partial(self._leases.hold, link.index, (address,), FOR_EVER)
                self._try(str(address), hold)
        self._try("static", partial(self._belongings.put, self._settings.static_belongings))

    def close(self, netlink: Netlink) -> None:
        """At the end."""
        with suppress(NetworkError):
            self._belongings.take(self._settings.static_belongings)
        for name, address in self._settings.static:
            link = netlink.link(name)
            if link is not None:
                with suppress(NetworkError):
                    self._leases.drop(link.index, (address,))
        self._vmacs.close()
        if self._unaccepted:
            with suppress(CannotRunError):
                no_accept.apply(self._table, ())

    def _make_vmac(self, router: RouterSettings) -> None:
        assert router.vmac is not None
        mac = router.vmac.mac or standard_mac(router.router_id, router.ipv6)
        self._vmacs.ensure(router.vmac.name, router.interface, mac)

    def _try(self, subject: str, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            if self._refused.get(subject) != str(error):
                self._refused[subject] = str(error)
                self._tell(subject, Event("vrrp.warning", f"{subject}: {error}", "the kernel"))
        else:
            self._refused.pop(subject, None)
