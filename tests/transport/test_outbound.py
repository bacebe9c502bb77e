"""Where registered names may lead (SECURITY C36, D17)."""

from __future__ import annotations

import pytest

from strongroom.transport import Callee, ForbiddenAddressError, association_request
from strongroom.transport.outbound import check_address, connect, resolve
from transport.world import CONTEXTS, LOOPBACK, QUICK, aio, device_context, echo, house

REQUEST = association_request(called="STRONGROOM", calling="CT1", contexts=CONTEXTS)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "240.0.0.1",
        "127.0.0.1",
        "::1",
        "::ffff:169.254.169.254",
        "::ffff:127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_addresses_that_nothing_is_sent_to(address: str) -> None:
    """Metadata, link-local, loopback and the like, however they are written."""
    with pytest.raises(ForbiddenAddressError) as caught:
        check_address(address, registered_host="pacs.example.org")
    assert address not in str(caught.value)


@pytest.mark.parametrize("address", ["192.0.2.1", "10.1.2.3", "192.168.1.1", "2001:db8::1", "fd12:3456::1"])
def test_addresses_of_hospitals_are_fine(address: str) -> None:
    """Private networks are where the peers live."""
    assert str(check_address(address, registered_host="pacs.example.org")) == address


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.0.0.9"])
def test_loopback_is_for_entries_that_say_so(host: str) -> None:
    """A workstation on the same machine is registered as what it is."""
    assert check_address("127.0.0.1", registered_host=host).is_loopback
    assert check_address("::1", registered_host=host).is_loopback


def _resolver(*addresses: str):
    async def answer(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return answer


@aio
async def test_a_name_that_was_moved_to_the_metadata_service_is_not_called() -> None:
    """One forbidden address among good ones forbids the call (D17)."""
    callee = Callee("pacs.example.org", 104, device_context())
    with pytest.raises(ForbiddenAddressError):
        await connect(callee, REQUEST, deadlines=QUICK, resolve=_resolver("192.0.2.1", "169.254.169.254"))


@aio
async def test_what_was_checked_is_what_is_called() -> None:
    """The connection goes to the address that was resolved once; the certificate is checked for the name."""
    asked = []
    async with house() as home:

        async def answer(host: str, port: int) -> list[str]:
            asked.append((host, port))
            return [LOOPBACK]

        callee = Callee("localhost", home.port, device_context())
        conversation = await connect(callee, REQUEST, deadlines=QUICK, resolve=answer)
        assert await echo(conversation) == 0
        await conversation.release()
        assert asked == [("localhost", home.port)]


@aio
async def test_the_archive_does_not_send_to_itself() -> None:
    """A registered address that is a door of ours is refused."""
    async with house() as home:
        callee = Callee("localhost", home.port, device_context())
        with pytest.raises(ForbiddenAddressError):
            await connect(callee, REQUEST, own_doors={(LOOPBACK, home.port)}, resolve=_resolver(LOOPBACK))
        assert home.desk.requests == []


@aio
async def test_registered_peers_are_called_over_tls_only() -> None:
    """There is no plaintext way out."""
    with pytest.raises(ForbiddenAddressError):
        await connect(Callee("localhost", 104, None), REQUEST, resolve=_resolver(LOOPBACK))


@aio
async def test_the_next_address_is_tried() -> None:
    """Of two good addresses the second is called when the first does not answer; with none left the error is raised."""
    async with house() as home:
        callee = Callee("localhost", home.port, device_context())
        conversation = await connect(callee, REQUEST, deadlines=QUICK, resolve=_resolver("127.0.0.77", LOOPBACK))
        assert await echo(conversation) == 0
        await conversation.release()
        with pytest.raises(OSError):
            await connect(callee, REQUEST, deadlines=QUICK, resolve=_resolver("127.0.0.77"))
        with pytest.raises(OSError):
            await connect(callee, REQUEST, deadlines=QUICK, resolve=_resolver())


@aio
async def test_the_system_resolves_localhost() -> None:
    """The default asks the system."""
    assert set(await resolve("localhost", 104)) & {"127.0.0.1", "::1"}
