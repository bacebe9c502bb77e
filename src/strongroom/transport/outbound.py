"""
Calls to registered peers: the one way out for patient data (SECURITY C36, C37, D17).

1. The name comes from a registered entry; it is resolved here, once.
2. Every address it leads to is checked; a forbidden one among them forbids the call, because a name that points to
   such an address is a mistake or an attack.
3. What was checked is what is called: the connection goes to the address, not to the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Container
from dataclasses import replace
from typing import Final

from strongroom.transport import requestor
from strongroom.transport.conversation import Conversation
from strongroom.transport.ends import ForbiddenAddressError
from strongroom.transport.pacing import DEFAULT_DEADLINES, Deadlines
from strongroom.transport.requestor import Callee
from strongroom.upper_layer import AssociateRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
"""Where clouds answer questions about a machine, its credentials included, besides 169.254.0.0/16."""

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of *host*."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


def check_address(text: str, *, registered_host: str) -> Address:
    """
    Return the address *text* stands for, IPv4 inside IPv6 unwrapped; raises ForbiddenAddressError.

    Loopback is allowed only where the entry itself says so: by "localhost" or a loopback address.
    """
    address = _unwrapped(ipaddress.ip_address(text.partition("%")[0]))
    forbidden = (
        address.is_unspecified
        or address.is_multicast
        or address.is_link_local
        or (address.is_reserved and not address.is_loopback)  # ::1 counts as both
        or address in _METADATA
        or (address.is_loopback and not _means_loopback(registered_host))
    )
    if forbidden:
        raise ForbiddenAddressError("a registered host name leads to an address that nothing may be sent to")
    return address


async def connect(
    callee: Callee,
    request: AssociateRequest,
    *,
    deadlines: Deadlines = DEFAULT_DEADLINES,
    resolve: Resolve = resolve,
    own_doors: Container[tuple[str, int]] = (),
) -> Conversation:
    """
    Open an association to a registered peer, over TLS.

    *own_doors* are addresses and ports that are ours: an archive does not send to itself. Raises what
    `requestor.connect` raises, and ForbiddenAddressError.
    """
    if callee.tls is None:
        raise ForbiddenAddressError("a registered peer is called over TLS only")
    async with asyncio.timeout(deadlines.handshake_seconds):
        found = await resolve(callee.host, callee.port)
    checked = [check_address(text, registered_host=callee.host) for text in found]
    if any((str(address), callee.port) in own_doors for address in checked):
        raise ForbiddenAddressError("a registered peer leads back to a door of ours")
    last: OSError = OSError("the name has no address")
    for address in dict.fromkeys(checked):
        pinned = replace(callee, host=str(address), server_name=callee.server_name or callee.host)
        try:
            return await requestor.connect(pinned, request, deadlines=deadlines)
        except OSError as error:
            last = error
    raise last


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, if there is one: mapped, 6to4 or NAT64."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _means_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return _unwrapped(ipaddress.ip_address(host)).is_loopback
    except ValueError:
        return False


__all__ = ["Address", "Resolve", "check_address", "connect", "resolve"]
