"""Every misuse of the gate fails, and nothing can be configured open (DESIGN section 2, decision 3; SECURITY C03)."""

from __future__ import annotations

import ast
import asyncio
import ipaddress
import os
import re
import ssl
import tomllib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec
import pytest
from pydicom.data import get_testdata_file

from architecture.code import SOURCE, modules, relative
from architecture.commands import parameters
from strongroom.access.policy import EVERYTHING, Actor
from strongroom.access.roles import Action, ActorKind
from strongroom.app import config
from strongroom.app.assembly import Archive, open_archive
from strongroom.app.founding import found
from strongroom.app.home import open_home
from strongroom.app.importing import import_path
from strongroom.archive import Disclosure, HostCredential, Session, SystemCredential, Target
from strongroom.archive.credentials import DeviceCredential, TokenCredential, WebCertificateCredential
from strongroom.audit.codes import Event
from strongroom.audit.trail import EVERY
from strongroom.dicom.model import Level
from strongroom.errors import AccessDenied, ConfigurationError, LocalProtocolError
from strongroom.exposure.territory import Host
from strongroom.transport import tls
from strongroom.transport.doors import Door

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
FRONT_DOORS = ("scp", "exposure", "transport", "dicomweb", "console", "delivery")
BEHIND = ("vault", "catalogue", "register", "audit", "access", "ground")
OPENING = re.compile(
    r"\bno[-_]?(auth|login|tls|verif\w*|cert\w*|check)|\banonymous|\bguest|\binsecure|\bunsafe|\bopen[-_]access|\bany[-_]?(one|body|caller)"
    r"|\bdisable|\bskip|\bbypass|\btrust[-_]all|\ballow[-_]all|\bauth\w*|\bsecurity|\bverify\b",
    re.IGNORECASE,
)
"""What an option that opens a door would be called."""


def in_an_archive(folder: Path, what: Callable[[Archive], Awaitable[None]]) -> None:
    """Run *what* on a new home that holds one image."""
    found(
        folder / "home", dicom=config.DEFAULT_DICOM, web=config.DEFAULT_WEB, ae_title="STRONGROOM", passphrase_file=None
    )

    async def run() -> None:
        async with open_archive(open_home(folder / "home")) as archive:
            session = await archive.gate.admit(HostCredential(os.getuid(), "import"))
            results = [reply async for reply in import_path(session, str(get_testdata_file("CT_small.dcm")))]
            assert results[-1]["result"]["stored"] == 1
            await what(archive)

    asyncio.run(run())


async def a_disclosure(archive: Archive) -> tuple[Session, Disclosure]:
    """What the host may see with a written reason: the one study."""
    session = await archive.gate.admit(HostCredential(os.getuid(), "test", reason="a test of the gate"))
    return session, await session.retrieve(Target(Level.STUDY, study_instance_uids=(STUDY,)))


def events(archive: Archive) -> list[str]:
    """The kinds of events in the trail, the newest first."""
    return [entry.message.event for entry in archive.core.parts.trail.read(EVERY)]


@pytest.mark.parametrize(
    "path", [path for path in modules() if relative(path).partition("/")[0] in FRONT_DOORS], ids=relative
)
def test_a_front_door_names_nothing_behind_the_gate(path: Path) -> None:
    """Not at the top, not inside a function, not for the type checker: there is no second way to the bytes."""
    named = {
        name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert set() == {name for name in named if name.startswith(tuple(f"strongroom.{package}" for package in BEHIND))}


def test_a_disclosure_opens_inside_its_block_only(tmp_path: Path) -> None:
    """Before `async with` the record is not written, after it the act is over: neither gives a byte (I5, I10)."""

    async def misuse(archive: Archive) -> None:
        _, disclosure = await a_disclosure(archive)
        (instance,) = disclosure.instances
        with pytest.raises(LocalProtocolError):
            await anext(aiter(disclosure.open(instance)))
        assert Event.BEGIN_TRANSFERRING not in events(archive)

        async with disclosure:
            assert Event.BEGIN_TRANSFERRING in events(archive)
            assert sum([len(piece) async for piece in disclosure.open(instance)]) == instance.length
        with pytest.raises(LocalProtocolError):
            await anext(aiter(disclosure.open(instance)))

    in_an_archive(tmp_path, misuse)


def test_a_closed_session_gives_nothing(tmp_path: Path) -> None:
    """Whoever keeps a session beyond its end holds nothing."""

    async def misuse(archive: Archive) -> None:
        session, _ = await a_disclosure(archive)
        session.close()
        with pytest.raises(AccessDenied):
            await session.retrieve(Target(Level.STUDY, study_instance_uids=(STUDY,)))
        with pytest.raises(AccessDenied):
            session.deposit(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="1.2.840.10008.1.2")
        with pytest.raises(AccessDenied):
            await session.destination("WS1")

    in_an_archive(tmp_path, misuse)


def test_the_host_sees_no_patient_without_a_written_reason(tmp_path: Path) -> None:
    """Running the command line is no licence to read; a try is in the trail."""

    async def misuse(archive: Archive) -> None:
        session = await archive.gate.admit(HostCredential(os.getuid(), "test"))
        with pytest.raises(AccessDenied) as refused:
            await session.retrieve(Target(Level.STUDY, study_instance_uids=(STUDY,)))
        assert refused.value.reason == "written-reason-missing"
        assert Event.SECURITY_ALERT in events(archive)

    in_an_archive(tmp_path, misuse)


def test_the_gate_admits_nobody_it_does_not_know(tmp_path: Path) -> None:
    """Neither an invented task, nor an invented door, nor a device without its certificate."""
    caller = DeviceCredential(
        calling_ae_title="CT1",
        called_ae_title="STRONGROOM",
        address="127.0.0.1",
        port=40000,
        door="dicom",
        encrypted=True,
        certificate=None,
        user_identity_type=None,
    )

    async def misuse(archive: Archive) -> None:
        for credential in (caller, replace(caller, door="back"), SystemCredential("invented")):
            with pytest.raises(AccessDenied):
                await archive.gate.admit(credential)

    in_an_archive(tmp_path, misuse)


def test_a_token_makes_no_session_but_through_the_gate(tmp_path: Path) -> None:
    """Whoever holds a good token, and even the entry behind it, still gets nothing without asking the gate."""

    async def misuse(archive: Archive) -> None:
        host = await archive.gate.admit(HostCredential(os.getuid(), "token.add"))
        made = await archive.tokens(host).issue(name="ohif", roles=["reader"], scope=["all"], life="1d")
        credential = TokenCredential(made["token"], "127.0.0.1", 40000, "web")
        for words in (("token",), (credential,), (archive.gate, credential), (None, None, credential)):
            with pytest.raises((TypeError, AttributeError)):
                await Session(*words).require(Action.QUERY)  # type: ignore[arg-type]
        forged = Session(archive.core, archive.directory, Actor(ActorKind.PERSON, "ohif", scope=EVERYTHING))
        with pytest.raises(AccessDenied):
            await forged.require(Action.QUERY)
        assert (await archive.gate.admit(credential)).may("query")

    in_an_archive(tmp_path, misuse)


def test_only_the_gate_makes_a_session() -> None:
    """No other module of the program calls it into being, nor an actor for one; front doors cannot even name an actor."""
    making: dict[str, set[str]] = {"Session": set(), "Actor": set()}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in making:
                making[node.func.id].add(relative(path))

    assert {"archive/gate.py"} == making["Session"]
    assert {"access/identity.py", "access/tokens.py", "archive/gate.py"} == making["Actor"]


@pytest.mark.parametrize("door", ["dicom", "legacy", "back", ""])
def test_the_gate_takes_tokens_on_the_web_door_only(tmp_path: Path, door: str) -> None:
    """A front door cannot pass a token, or a certificate without an AE title, off as something else."""

    async def misuse(archive: Archive) -> None:
        host = await archive.gate.admit(HostCredential(os.getuid(), "token.add"))
        made = await archive.tokens(host).issue(name="ohif", roles=["reader"], scope=["all"], life="1d")
        for credential in (
            TokenCredential(made["token"], "127.0.0.1", 40000, door),
            WebCertificateCredential(b"any", "127.0.0.1", 40000, door),
        ):
            with pytest.raises(AccessDenied):
                await archive.gate.admit(credential)

    in_an_archive(tmp_path, misuse)


def test_a_credential_does_not_print_its_secret() -> None:
    """A traceback or a log line that shows one shows neither token nor certificate."""
    for credential in (
        TokenCredential("srt_secret", "a", 1, "web"),
        WebCertificateCredential(b"srt_secret", "a", 1, "web"),
    ):
        assert "srt_secret" not in repr(credential)


def test_a_probe_aims_at_nothing_outside_a_territory() -> None:
    """A Host cannot be made by hand."""
    with pytest.raises(AccessDenied):
        Host("192.0.2.1", 104, "somebody else's", object())


def test_a_door_without_tls_needs_networks_and_an_end() -> None:
    """A plaintext door for everybody, or for ever, cannot be built."""
    for networks, expires in (((), date(2030, 1, 1)), ((ipaddress.ip_network("10.0.0.0/8"),), None), ((), None)):
        with pytest.raises(ConfigurationError):
            Door("legacy", "127.0.0.1", 0, None, networks, expires)


def test_a_tls_door_without_client_certificates_cannot_be_built() -> None:
    """TLS that lets anybody in is no door."""
    for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls.unverified_client_context()):
        with pytest.raises(ConfigurationError):
            Door("dicom", "127.0.0.1", 0, context)


def test_certificates_go_unchecked_in_the_survey_only() -> None:
    """CERT_NONE stands in one function, for looking at doors from outside, and only the survey calls it."""
    naming = {relative(path) for path in modules() if "CERT_NONE" in path.read_text("utf-8")}
    calling = {relative(path) for path in modules() if "unverified_client_context(" in path.read_text("utf-8")}

    assert naming == {"transport/tls.py"}
    assert {path for path in calling if not path.startswith(("exposure/", "cli/demonstration/"))} == {
        "transport/tls.py"
    }


def options_of(struct: type[msgspec.Struct], prefix: str = "") -> set[str]:
    """Every option of the configuration."""
    found: set[str] = set()
    for field in msgspec.structs.fields(struct):
        inner = [
            one
            for one in (field.type, *getattr(field.type, "__args__", ()))
            if isinstance(one, type) and issubclass(one, msgspec.Struct)
        ]
        found |= {f"{prefix}{field.encode_name}"} if not inner else set()
        for one in inner:
            found |= options_of(one, f"{prefix}{field.encode_name}.")
    return found


def test_no_option_is_called_like_one_that_opens_a_door() -> None:
    """C03: not in the configuration file and not on the command line; whoever adds one has to argue with this test."""
    on_the_command_line = {f"{command} {option}" for command, options in parameters().items() for option in options}

    assert set() == {
        name
        for name in options_of(config.Config) | on_the_command_line
        if OPENING.search(name.replace("trail verify", "").replace("backup --verify", ""))
    }


@pytest.mark.parametrize(
    "name", ["auth", "no-auth", "--no-tls", "allow-anonymous", "disable-authentication", "verify", "insecure"]
)
def test_the_grep_finds_what_it_looks_for(name: str) -> None:
    """A pattern that matches nothing would find nothing."""
    assert OPENING.search(name)


@pytest.mark.parametrize("option", ["authentication", "auth", "anonymous", "tls", "require-certificate", "verify"])
@pytest.mark.parametrize("section", ["", "dicom", "web", "limits"])
def test_an_invented_switch_is_refused(section: str, option: str) -> None:
    """What does not exist is not quietly ignored either."""
    text = f"[{section}]\n{option} = false\n" if section else f"{option} = false\n"

    with pytest.raises(ConfigurationError, match="unknown option"):
        config.parse(tomllib.loads(text))


def test_no_environment_variable_opens_a_door() -> None:
    """Nor is there a way around the file: these are all the variables that the program looks at."""
    named = set()
    for path in modules():
        if not relative(path).startswith("cli/demonstration/"):
            named |= set(
                re.findall(
                    r"os\.environ(?:\.get\(|\[)\s*\"([A-Z_]+)\"|\"([A-Z_]+)\" in os\.environ", path.read_text("utf-8")
                )
            )

    assert {name for pair in named for name in pair if name} <= {
        "STRONGROOM_HOME",
        "STRONGROOM_PASSPHRASE_FILE",
        "XDG_DATA_HOME",
        "CREDENTIALS_DIRECTORY",
        "NO_COLOR",
    }


def test_the_doors_stay_on_loopback(tmp_path: Path) -> None:
    """Until people can sign in no address but loopback is taken, on any door."""
    for section in ("dicom", "web"):
        for address in ("0.0.0.0:2762", "[::]:2762", "10.0.0.1:2762", "archive.example.org:2762"):
            with pytest.raises(ConfigurationError, match="loopback"):
                config.parse({section: {"listen": address}})
    legacy = {"listen": "0.0.0.0:104", "networks": ["10.0.0.0/8"], "expires": date(2030, 1, 1)}
    with pytest.raises(ConfigurationError, match="loopback"):
        config.parse({"legacy": legacy})
    with pytest.raises(ConfigurationError, match="loopback"):
        found(
            tmp_path / "home", dicom="0.0.0.0:2762", web=config.DEFAULT_WEB, ae_title="STRONGROOM", passphrase_file=None
        )
    assert not (tmp_path / "home").exists()


def test_the_vault_names_no_key() -> None:
    """It holds ciphertext: neither keyring nor cipher can be reached from it, only lengths and a checksum (decision 4)."""
    named = set()
    for path in SOURCE.joinpath("vault").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (
                isinstance(node, ast.Import)
                and any("crypt" in alias.name or "strongroom" in alias.name for alias in node.names)
            )
            if isinstance(node, ast.ImportFrom) and node.module:
                named |= {f"{node.module}.{alias.name}" for alias in node.names}

    ours = {
        name for name in named if re.match(r"strongroom\.(ground\.(seal|keyring|master|label|database)|access)", name)
    }
    assert ours <= {"strongroom.ground.seal.plain_length"}
    assert {name.rpartition(".")[2] for name in named if name.startswith("cryptography")} <= {"Poly1305"}


def test_the_command_line_is_really_looked_at() -> None:
    """The list of commands above is not empty by accident."""
    assert {"init", "serve", "device add", "trail verify"} <= set(parameters())
