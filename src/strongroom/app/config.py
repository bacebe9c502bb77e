"""
The one configuration file, `strongroom.toml`: every option, its default and its check.

Unknown keys are refused with the nearest name. No option disables authentication, and none exists that could (DESIGN
section 6).
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DICOM = "127.0.0.1:2762"
DEFAULT_WEB = "127.0.0.1:8443"
WEB_PATH = "/dicom-web"
_AE_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")
"""
PS3.5 §6.2, VR AE: 1-16 characters of the default repertoire without backslash and control characters, no outer
spaces.
"""


class Dicom(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The DICOM door over TLS."""

    listen: str = DEFAULT_DICOM
    ae_title: str = "STRONGROOM"
    names: tuple[str, ...] = ("localhost",)


class Web(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The web door: DICOMweb over HTTPS."""

    listen: str = DEFAULT_WEB
    names: tuple[str, ...] = ("localhost",)
    certificate: str = ""
    """A PEM file of one's own, with what leads to its authority; empty for one of the archive's authority."""
    key: str = ""
    base_url: str = ""
    """What stands in the links of answers; empty for the first name and the port."""


class Legacy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """A plaintext door for devices that cannot do TLS: store and echo only, listed networks only, until *expires*."""

    listen: str
    networks: tuple[str, ...]
    expires: date


class Vault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Where the packs are kept once more."""

    second: str = ""
    """A folder on another disk; empty for none."""
    second_mebibytes_per_second: int = 0
    """How fast it is written; 0 is as fast as it goes."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """What one caller may ask of the machine; reasons in docs/limits.md."""

    associations: int = 600
    associations_per_device: int = 64
    idle_seconds: int = 600
    pack_mebibytes: int = 256
    data_set_gibibytes: int = 16


class Scrub(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """Opening every blob again in the background; reasons in docs/limits.md."""

    days: int = 30
    mebibytes_per_second: int = 20


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The whole file."""

    dicom: Dicom = Dicom()
    web: Web = Web()
    legacy: Legacy | None = None
    limits: Limits = Limits()
    vault: Vault = Vault()
    scrub: Scrub = Scrub()


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "dicom": Dicom,
    "web": Web,
    "legacy": Legacy,
    "limits": Limits,
    "vault": Vault,
    "scrub": Scrub,
}


def load(path: Path) -> Config:
    """Read and check *path*; raises ConfigurationError with a sentence that says what to change."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path.name} is missing in this home; `strongroom init` makes one") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name} is not valid TOML: {error}") from error
    return parse(document, name=path.name)


def parse(document: Mapping[str, Any], *, name: str = "strongroom.toml") -> Config:
    """Check an already read TOML *document* and return it typed."""
    _refuse_unknown(document, name)
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    _check(config, name)
    return config


def _refuse_unknown(document: Mapping[str, Any], name: str) -> None:
    """Name the unknown key and the nearest known one: a typing mistake must not quietly leave a default in force."""
    _refuse_unknown_in(document, _SECTIONS, "", name)
    for section, struct in _SECTIONS.items():
        values = document.get(section)
        if isinstance(values, dict):
            _refuse_unknown_in(
                values, [field.encode_name for field in msgspec.structs.fields(struct)], f"{section}.", name
            )


def _refuse_unknown_in(given: Mapping[str, Any], known: Any, prefix: str, name: str) -> None:
    for key in given:
        if key not in known:
            nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0.4)
            hint = f"; did you mean {prefix}{nearest[0]}?" if nearest else f"; known here: {', '.join(known)}"
            raise ConfigurationError(f"{name}: unknown option {prefix}{key}{hint}")


def _check(config: Config, name: str) -> None:
    check_ae_title(config.dicom.ae_title, f"{name}: dicom.ae-title")
    for key, value in (("dicom.listen", config.dicom.listen), ("web.listen", config.web.listen)):
        _loopback_only(key, value, name)
    _check_web(config.web, name)
    if config.legacy is not None:
        _loopback_only("legacy.listen", config.legacy.listen, name)
        if not config.legacy.networks:
            raise ConfigurationError(
                f"{name}: legacy.networks must list the networks of the devices that cannot do TLS"
            )
        for network in config.legacy.networks:
            check_network(network, f"{name}: legacy.networks")
    if config.vault.second and not Path(config.vault.second).is_absolute():
        raise ConfigurationError(f"{name}: vault.second must be the whole path of a folder, for example /srv/second")
    if config.vault.second_mebibytes_per_second < 0:
        raise ConfigurationError(f"{name}: vault.second-mebibytes-per-second must be at least 0")
    for field in msgspec.structs.fields(Limits):
        if getattr(config.limits, field.name) < 1:
            raise ConfigurationError(f"{name}: limits.{field.encode_name} must be at least 1")
    for field in msgspec.structs.fields(Scrub):
        if getattr(config.scrub, field.name) < 1:
            raise ConfigurationError(f"{name}: scrub.{field.encode_name} must be at least 1")


def _check_web(web: Web, name: str) -> None:
    if not web.names:
        raise ConfigurationError(f"{name}: web.names must name the host that clients call, for example localhost")
    if bool(web.certificate) != bool(web.key):
        raise ConfigurationError(f"{name}: web.certificate and web.key belong together; give both or none")
    if web.base_url:
        try:
            parts = urlsplit(web.base_url)
            whole = (parts.scheme, parts.path, parts.query, parts.fragment, parts.username)
            right = whole == ("https", WEB_PATH, "", "", None) and bool(parts.hostname) and parts.port != 0
        except ValueError:
            right = False
        if not right:
            raise ConfigurationError(
                f"{name}: web.base-url must be https://HOST{WEB_PATH} or https://HOST:PORT{WEB_PATH}, "
                "without anything after it"
            )


def web_base_url(web: Web, port: int) -> str:
    """The address of DICOMweb as callers know it; *port* is the one that listens."""
    name = web.names[0]
    return web.base_url or f"https://{f'[{name}]' if ':' in name else name}:{port}{WEB_PATH}"


def host_names(listen: str, names: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The names and addresses in a door's certificate: *names*, `localhost`, and the host it listens on."""
    host, _ = split_listen(listen, where)
    return tuple(dict.fromkeys((*names, "localhost", host)))


def check_ae_title(ae_title: str, where: str = "--ae-title") -> None:
    """Raise ConfigurationError unless *ae_title* is one (PS3.5 §6.2)."""
    if not _AE_TITLE.fullmatch(ae_title):
        raise ConfigurationError(f"{where} must be 1 to 16 printable characters without a backslash (PS3.5 6.2)")


def check_network(network: str, where: str) -> None:
    """Raise ConfigurationError unless *network* is a CIDR such as 10.1.2.0/24."""
    try:
        ipaddress.ip_network(network)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {network!r} is not a network such as 10.1.2.0/24") from error


def split_listen(value: str, where: str) -> tuple[str, int]:
    """Split HOST:PORT (IPv6 in brackets); raises ConfigurationError."""
    host, _, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(f"{where}: {value!r} is not HOST:PORT, for example {DEFAULT_DICOM}")
    return host, int(port)


def _loopback_only(key: str, value: str, name: str) -> None:
    """Refuse any address but loopback until people can sign in (DESIGN section 6, Doors)."""
    host, _ = split_listen(value, f"{name}: {key}")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigurationError(
            f"{name}: {key} = {value!r} is refused: this version binds to loopback only, because an "
            "administrator cannot sign in yet. "
            "Use 127.0.0.1 and a TLS-preserving forwarder of your own until then."
        )


def template(*, dicom: str = DEFAULT_DICOM, web: str = DEFAULT_WEB, ae_title: str = "STRONGROOM") -> str:
    """The text of a fresh strongroom.toml, every option with its meaning and default."""
    return f"""\
# Strongroom. Changes need a restart of `strongroom serve`. There is no option that turns authentication off.

[dicom]                      # DICOM over TLS; every caller shows a certificate from `strongroom device add`
listen = "{dicom}"
ae-title = "{ae_title}"
names = ["localhost"]        # host names and addresses in the door's certificate (takes effect at the next start)

[web]                        # DICOMweb over HTTPS; every caller shows a token or a certificate of the archive
listen = "{web}"
names = ["localhost"]        # host names and addresses it is called by, the first in links; also in its certificate
certificate = ""             # a certificate of your own: PEM file, and its key, which others must not be able to read;
key = ""                     # without them the archive issues one at every start
base-url = ""                # behind a proxy: what callers use, "https://pacs.example.org/dicom-web"

[limits]                     # reasons in docs/limits.md
associations = 600           # open at once, all devices together
associations-per-device = 64
idle-seconds = 600           # an association without traffic is aborted after this
pack-mebibytes = 256         # size of one pack file
data-set-gibibytes = 16      # largest data set taken

[vault]
second = ""                  # a folder on another disk that gets every closed pack once more, "/srv/second"
second-mebibytes-per-second = 0  # how fast it is written; 0 is as fast as it goes
[scrub]                      # every blob is opened and compared again, the one that waits longest first
days = 30                    # at least once in so many days
mebibytes-per-second = 20    # and no faster than this

# [legacy]                   # only for devices that cannot do TLS: plain text, store and echo only
# listen = "127.0.0.1:11112"
# networks = ["127.0.0.0/8"] # who may knock at all
# expires = 2027-06-30       # on this day the door stays shut
"""
