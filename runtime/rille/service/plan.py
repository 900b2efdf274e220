"""Which files make rille a service here: its interpreter, its user, its configuration."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rille.config import RunConfig, parse_config
from rille.errors import ConfigError
from rille.service.boards import template
from rille.service.files import ServiceFile

CONFIG = Path("/etc/rille/flight.toml")
STATE = PurePosixPath("/var/lib/rille")
"""The only folder that the service may write to, apart from its cache."""

_PLACES = {
    Path("/etc/sysusers.d/rille.conf"): "sysusers.conf",
    Path("/etc/logrotate.d/rille"): "logrotate.conf",
    Path("/etc/systemd/system/rille.service"): "rille.service",
    Path("/etc/systemd/system/rille.service.d/jetson.conf"): "jetson.conf",
}
WRITTEN = tuple(_PLACES)
"""Every path that an installation of any kind writes, but for the configuration."""

_FILE_SINKS = ("jsonl", "mcap", "video", "ccsds")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_GONE = ("/tmp", "/var/tmp", "/run/user", "/root")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceOptions:
    """What the service is to be.

    Attributes:
        python: the interpreter that has rille, absolute.
        user: whom it runs as.
        config: the text of its configuration.
        where: what to call that in an error.
        jetson: whether it runs on NVIDIA's system.
    """

    python: Path
    user: str
    config: str
    where: str
    jetson: bool = False


def planned(options: ServiceOptions) -> list[ServiceFile]:
    """Return the files of the service.

    Raises:
        ConfigError: the configuration is wrong or writes where a service may not; the user's name
            is none; the interpreter lies where a service cannot see it.
    """
    _check_config(parse_config(options.config, options.where, []), options.where)
    if not _USER.fullmatch(options.user) or options.user == "root":
        raise ConfigError(
            f"--user {options.user!r:.40}: must be an ordinary user's name; a service needs no root"
        )
    values = {
        "PYTHON": _quoted(options.python),
        "USER": options.user,
        "PROTECT_HOME": _protect_home(options.python, options.user),
    }
    places = {
        path: name for path, name in _PLACES.items() if options.jetson or name != "jetson.conf"
    }
    return [
        ServiceFile(path=CONFIG, content=options.config, users=True),
        *(ServiceFile(path=path, content=_filled(name, values)) for path, name in places.items()),
    ]


def _filled(name: str, values: dict[str, str]) -> str:
    text = template(name)
    for word, value in values.items():
        text = text.replace(f"@{word}@", value)
    return text


def _check_config(config: RunConfig, where: str) -> None:
    """Refuse outputs where a service cannot write; relative ones lie below its folder."""
    places = {"output.folder": config.output.folder}
    for uri in config.output.sinks:
        scheme, _, rest = uri.partition("://")
        path = rest.partition("?")[0]
        if scheme in _FILE_SINKS and (scheme != "ccsds" or path.startswith("/")):
            places[f"output.sinks {uri!r}"] = path
    for key, place in places.items():
        whole = PurePosixPath(os.path.normpath(STATE / place))
        if whole != STATE and STATE not in whole.parents:
            raise ConfigError(f"{where}: {key}: a service writes below {STATE} alone, not {place}")


def _protect_home(python: Path, user: str) -> str:
    """Return systemd's ProtectHome= for where the interpreter lies.

    Raises:
        ConfigError: the service could not see it there.
    """
    if not python.is_absolute():
        raise ConfigError(f"--python {python}: must be an absolute path")
    real = (python, python.resolve())  # a virtual environment leads to another interpreter
    hidden = any(Path(place) in path.parents for place in _GONE for path in real)
    homes = {path.parts[2] for path in real if path.parts[1] == "home"}
    if hidden or homes - {user}:
        raise ConfigError(
            f"{real[1] if hidden else python}: a service that runs as {user} cannot see that "
            "Python; install rille into /opt/rille (sudo /usr/bin/python3 -m venv /opt/rille) and "
            "use /opt/rille/bin/rille"
        )
    return "read-only" if homes else "yes"


def _quoted(path: Path) -> str:
    """Return a path as one word of a unit file.

    Raises:
        ConfigError: it has characters that no unit file should.
    """
    text = str(path)
    if re.search(r"[\x00-\x1f\"'\\]", text):
        raise ConfigError(f"--python {text!r}: quotes and control characters are refused")
    return '"' + text.replace("%", "%%").replace("$", "$$") + '"'
