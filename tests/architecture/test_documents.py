"""What the documents say is there, and what is there is in the documents: a setting, command, event or reason without a word fails the build."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import msgspec
import pytest

from architecture.code import DOCS, ROOT, SOURCE, modules, relative
from architecture.commands import EVERYWHERE, parameters
from strongroom.access.identity import Rejected
from strongroom.access.policy import Reason
from strongroom.app import config
from strongroom.audit.codes import OWN_SCHEME, Event, EventType, code
from strongroom.cli.exits import Exit
from strongroom.transport.ends import Refused

GUIDE = DOCS / "guide"
DOCUMENTS = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text(name: str) -> str:
    """A page of the guide."""
    return (GUIDE / name).read_text("utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """The code of a page in one language, without its indentation."""
    found = _BLOCK.findall(path.read_text("utf-8"))
    return [re.sub(f"^{indent}", "", body, flags=re.MULTILINE) for indent, kind, body in found if kind == language]


def section(page: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def settings() -> dict[str, object]:
    """Every option of strongroom.toml with its default."""
    found: dict[str, object] = {}
    for outer in msgspec.structs.fields(config.Config):
        kinds = (outer.type, *getattr(outer.type, "__args__", ()))
        (struct,) = (one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct))
        for field in msgspec.structs.fields(struct):
            found[f"{outer.encode_name}.{field.encode_name}"] = field.default
    return found


def written(default: object) -> str:
    """A default as configuration.md writes it."""
    if default is msgspec.NODEFAULT:
        return "none, required"
    if isinstance(default, tuple):
        return f"`[{', '.join(written(one).strip('`') for one in default)}]`"
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


@pytest.mark.parametrize("name", settings())
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    """An option that nobody can read about does not exist."""
    assert f"| `{name}` | {written(settings()[name])} |" in text("configuration.md")


def test_no_setting_is_documented_that_does_not_exist() -> None:
    """What was taken out of the program leaves the page as well."""
    assert set(settings()) == set(re.findall(r"^\| `([a-z-]+\.[a-z-]+)` \|", text("configuration.md"), re.MULTILINE))


def test_a_fresh_configuration_file_shows_every_setting() -> None:
    """`init` writes every option with its default; those of the plaintext door as comments."""
    fresh = config.template()
    shown = {name for name in settings() if re.search(rf"^(# )?{name.rpartition('.')[2]} = ", fresh, re.MULTILINE)}

    assert set(settings()) == shown
    assert config.parse(tomllib.loads(fresh)) == config.Config()


def test_options_of_the_limits_exist() -> None:
    """The last column of limits.md names options of the file."""
    named = set(re.findall(r"`(limits\.[a-z-]+)` \|$", (DOCS / "limits.md").read_text("utf-8"), re.MULTILINE))

    assert {name for name in settings() if name.startswith("limits.")} == named


@pytest.mark.parametrize("command", parameters())
def test_every_command_is_documented_with_every_option(command: str) -> None:
    """Whoever reads commands.md knows all that can be typed."""
    page = section(text("commands.md"), f"strongroom {command}")
    assert page, f"no section for strongroom {command}"

    missing = [
        one
        for one in parameters()[command]
        if one not in EVERYWHERE and not re.search(rf"^\| `{re.escape(one)}`", page, re.MULTILINE)
    ]
    assert missing == []


def test_no_command_or_option_is_documented_that_does_not_exist() -> None:
    """What was taken out of the program leaves the page as well."""
    page = text("commands.md")
    assert set(re.findall(r"^## strongroom (.+)$", page, re.MULTILINE)) == set(parameters())

    for command, known in parameters().items():
        documented = set(re.findall(r"^\| `(--[a-z-]+|[a-z_]+)`", section(page, f"strongroom {command}"), re.MULTILINE))
        assert documented <= set(known), command


def test_every_command_has_the_common_options() -> None:
    """--json, --help, and --home wherever there is a home."""
    for command, known in parameters().items():
        assert {"--help", "--json"} <= set(known), command
        assert command == "demo" or "--home" in known, command


def test_exit_statuses_are_documented() -> None:
    """Scripts rely on them."""
    found = re.findall(r"^\| (\d) \|", section(text("commands.md"), "Exit statuses"), re.MULTILINE)

    assert [int(one) for one in found] == [int(one) for one in Exit]


@pytest.mark.parametrize("kind", [*Event, *EventType], ids=lambda kind: kind.name.lower())
def test_every_audit_event_is_documented(kind: Event | EventType) -> None:
    """Whoever reads the trail finds out what a record means: by its word and its code, or by ours."""
    found = code(kind.value)
    shown = found.meaning.lower().replace("-", " ") if found.scheme == OWN_SCHEME else found.meaning.lower()

    assert f"| {shown} | `{found.value}` |" in text("trail.md").lower()


ASKED_BY = {
    Event.APPLICATION_ACTIVITY: ".started(",
    Event.AUDIT_LOG_USED: ".trail_read(",
    Event.BEGIN_TRANSFERRING: ".begin_transfer(",
    Event.INSTANCES_ACCESSED: ".accessed(",
    Event.INSTANCES_TRANSFERRED: ".transferred(",
    Event.STUDY_DELETED: ".study_deleted(",
    Event.EXPORT: ".exported(",
    Event.IMPORT: ".imported(",
    Event.QUERY: "reporter.query(",
    Event.SECURITY_ALERT: ".alert(",
    Event.USER_AUTHENTICATION: ".authenticated(",
    EventType.APPLICATION_START: ".started(",
    EventType.APPLICATION_STOP: ".stopped(",
    EventType.LOGIN: ".authenticated(",
    EventType.LOGOUT: "logout=True",
    EventType.NODE_AUTHENTICATION: ".not_admitted(",
    EventType.RESTRICTED_FUNCTION: ".alert(",
    EventType.AUTHORIZATION_DECISION: "reporter.refused(",
    EventType.HOST_ACCESS: "--reason",
    EventType.RECOVERED: "recovered=True",
    EventType.QUARANTINED: "quarantined=True",
    EventType.REPEATED: "reporter.repeated(",
}
"""How the archive asks the reporter for a record of this kind, where it does not name the kind itself."""


@pytest.mark.parametrize("kind", [*Event, *EventType], ids=lambda kind: kind.name.lower())
def test_an_event_is_called_reserved_as_long_as_nothing_writes_it(kind: Event | EventType) -> None:
    """Whoever writes the first such record has to take "not yet" back in the document, and the other way round."""
    sign = ASKED_BY.get(kind, f"EventType.{kind.name}")
    users = [
        relative(path)
        for path in modules()
        if not relative(path).startswith("audit/") and sign in path.read_text("utf-8")
    ]
    rows = [line for line in text("trail.md").splitlines() if f"| `{kind.value}` |" in line]
    reserved = any("not yet" in line or "reserved" in line for line in rows)

    assert bool(users) != reserved, (users, rows)


@pytest.mark.parametrize(
    "reason", [*Rejected, *Refused, *Reason], ids=lambda reason: f"{type(reason).__name__}-{reason.value}"
)
def test_every_reason_of_a_refusal_is_explained(reason: Rejected | Refused | Reason) -> None:
    """The caller is told nothing, so the archive's own people have to be told all the more."""
    assert f"`{reason.value}`" in text("trail.md")


def test_every_environment_variable_is_documented() -> None:
    """There are few, and they are in configuration.md."""
    page = section(text("configuration.md"), "Environment")
    read = re.compile(r'(?:environ(?:\.get\(|\[)|envvar=)\s*"([A-Z][A-Z_]+)"|"([A-Z][A-Z_]+)" in os\.environ')
    named = {
        name
        for path in modules()
        if "demonstration" not in relative(path)
        for pair in read.findall(path.read_text("utf-8"))
        for name in pair
        if name
    }

    assert {"STRONGROOM_HOME", "NO_COLOR"} <= named
    assert set() == {name for name in named if f"`{name}`" not in page}


def test_every_event_of_the_log_is_documented() -> None:
    """Whoever watches the journal finds out what to do."""
    named = {name for path in modules() for name in re.findall(r"\blog\(\s*\"([a-z-]+)\"", path.read_text("utf-8"))}

    assert "ready" in named
    assert set() == {name for name in named if f"| `{name}` |" not in text("operate.md")}


def _commands() -> list[tuple[str, str]]:
    """Every `strongroom ...` line in the code blocks of the documents."""
    found = []
    for path in DOCUMENTS:
        for _, kind, body in _BLOCK.findall(path.read_text("utf-8")):
            lines = body.replace("\\\n", " ").splitlines() if kind in ("", "sh") else []
            found += [
                (f"{path.relative_to(ROOT)}", line.strip()) for line in lines if line.strip().startswith("strongroom ")
            ]
    return found


@pytest.mark.parametrize(("page", "line"), _commands(), ids=lambda value: value)
def test_commands_in_the_documents_can_be_typed(page: str, line: str) -> None:
    """An example with an option that is gone is worse than none."""
    words = shlex.split(line, comments=True)[1:]
    command = next((one for one in parameters() if words[: len(one.split())] == one.split()), None)

    assert command is not None, page
    assert {word for word in words if word.startswith("--")} <= set(parameters()[command]), page


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "python")], ids=lambda path: path.name)
def test_python_in_the_documents_compiles(path: Path) -> None:
    """It is at least Python; the interop tests talk to the archive in the same way."""
    for body in blocks(path, "python"):
        compile(body, str(path), "exec")


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if blocks(path, "toml")], ids=lambda path: path.name)
def test_configuration_in_the_documents_is_taken(path: Path) -> None:
    """What is to be copied into strongroom.toml is accepted there."""
    for body in blocks(path, "toml"):
        assert config.parse(tomllib.loads(body)) != config.Config()


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link of every page, anchors included."""
    for link in _LINK.findall(path.read_text("utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    """A page nobody can find is not there."""
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if path.is_dir():
            waiting += path.glob("*.md")
        elif path.suffix == ".md":
            waiting += [
                (path.parent / link.partition("#")[0]).resolve()
                for link in _LINK.findall(path.read_text("utf-8"))
                if "://" not in link and not link.startswith("#")
            ]

    assert {path.name for path in DOCUMENTS} - {path.name for path in seen} <= {"plan.md"}


def test_the_readme_names_what_is_not_there_yet() -> None:
    """A person in a hurry must not find out by trying: as long as it is missing, the table says so."""
    readme = (ROOT / "README.md").read_text("utf-8")
    missing = {"dicomweb": "DICOMweb", "console": "console", "delivery": "syslog"}
    for package, word in missing.items():
        assert (SOURCE / package).exists() or word in readme
    for word in ("loopback", "repair", "backup"):
        assert word in readme
