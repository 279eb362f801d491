"""TLS contexts of probes; nothing is verified unless it is asked for."""

import ssl
import time
from functools import lru_cache

from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import Tls

DAY_S = 86400


@lru_cache(maxsize=4096)
def context(asked: Tls, protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError too) where a file cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = asked.verify
    made.verify_mode = ssl.CERT_REQUIRED if asked.verify else ssl.CERT_NONE
    if asked.ca is not None:
        made.load_verify_locations(asked.ca)
    elif asked.verify:
        made.load_default_certs()
    if asked.certificate is not None:
        made.load_cert_chain(asked.certificate, asked.key)
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


def check_age(asked: Tls, connection: ssl.SSLObject | ssl.SSLSocket) -> None:
    """The verified certificate is good for long enough. Raises ProbeError."""
    if asked.min_days is None:
        return
    certificate = connection.getpeercert()
    until = certificate.get("notAfter") if certificate else None
    if not isinstance(until, str):
        raise ProbeError("the certificate does not say until when it is good")
    # Wall clock: a certificate's dates are of the world's.
    days = (ssl.cert_time_to_seconds(until) - time.time()) / DAY_S
    if days < asked.min_days:
        raise ProbeError(f"the certificate ends in {days:.1f} days ({until})")


def explained(error: ssl.SSLError) -> ProbeError:
    """What TLS did not like, in its own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return ProbeError(f"the certificate is not good: {error.verify_message}")
    reason = (error.reason or str(error)).lower().replace("_", " ")
    return ProbeError(f"TLS: {reason}")
