"""One virtual router's side of the wire: adverts to bytes, what is heard to adverts."""

from trimaran.vrrp.address import Address
from trimaran.vrrp.packet import Advert, Datagram, Rejection, decode, encode
from trimaran.vrrp.seal import AhSeal, HmacSeal, NoSeal, Saying, Seal
from trimaran.vrrp.settings import RouterSettings


class Voice:
    """Remembers what it has written, for an advert changes with priority and source alone; a seal
    is put on it every time."""

    def __init__(self, settings: RouterSettings) -> None:
        self._settings = settings
        self._dialect = settings.dialect()
        self.seal: Seal = NoSeal()
        if settings.ah:
            self.seal = AhSeal(self._dialect)
        elif settings.hmac is not None:
            self.seal = HmacSeal(settings.hmac, self._dialect)
        self._addresses = tuple(each.ip for each in settings.addresses)
        peers = [peer.address for peer in settings.peers]
        self._destinations: list[Address] = peers or [self._dialect.group]
        self.ttl = settings.unicast_ttl if peers else 255
        self._written: dict[tuple[int, Address], Saying] = {}

    def say(self, priority: int, source: Address, wall: float) -> Saying:
        """The advert's bytes for each destination (with AH, whole IP datagrams)."""
        written = self._written.get((priority, source))
        if written is None:
            written = self._written[priority, source] = self._write(priority, source)
        return self.seal.close(written, source, self.ttl, wall)

    def understand(self, datagram: Datagram, wall: float) -> Advert | Rejection:
        """The advert in it, or why there is none for us."""
        opened = self.seal.open(datagram, wall)
        return opened if isinstance(opened, Rejection) else decode(opened, self._dialect)

    def _write(self, priority: int, source: Address) -> Saying:
        advert = Advert(priority, self._settings.interval_cs, self._addresses)
        return [(encode(advert, self._dialect, source, to), to) for to in self._destinations]
