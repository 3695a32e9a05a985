"""Where settings come from: defaults, a TOML file, the environment, the command line; what comes later wins."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from dp.database_url import DatabaseUrl
from workbench.service.setting_checks import validated
from workbench.service.settings import SERIES, TABLES, Settings, SettingsError, names

VARIABLE_PREFIX = "DPDAU_"


def load_settings(file: Path | None, environment: Mapping[str, str], given: Sequence[tuple[str, str]] = ()) -> Settings:
    """Defaults, then `file`, then variables such as DPDAU_MAU_EPSILON, then (name, value) pairs of the command line.

    Args:
        file: TOML; None for none.
        environment: variables that begin with DPDAU_ and resemble no setting are left alone.

    Raises:
        SettingsError: an unknown name, or a value that is not possible; the message says where it came from.
    """
    found: dict[str, tuple[Any, str]] = {}
    for name, value, source in chain(_of_file(file), _of_environment(environment), ((*one, "--set") for one in given)):
        if name not in names() and not _in_table(name):
            near = _nearest(name, names(), 0.6)
            meant = f"; perhaps {' or '.join(near)} is meant" if near else ""
            raise SettingsError(f"{source}: {name!r} is no setting; there are {', '.join(names())}{meant}")
        found[name] = value, source
    merged = msgspec.to_builtins(Settings())
    for name, (value, _) in found.items():
        group, _, part = name.partition(".")
        if group in TABLES:
            one, _, part = part.rpartition(".")
            merged[group].setdefault(one, {})[part] = value.split(",") if _is_list(name, value) else value
        else:
            (merged[group] if part else merged)[part or group] = None if _unset(name, value) else value
    try:
        return validated(msgspec.convert(merged, Settings, strict=False))
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        if name not in found:
            raise SettingsError(_in_some_table(found, name, reason)) from error
        raise SettingsError(
            f"{name} has an impossible value, {found[name][0]!r}: {reason}{_from(found, name)}"
        ) from error
    except SettingsError as error:
        raise SettingsError(f"{error}{_from(found, str(error))}") from error


def _of_file(file: Path | None) -> Iterator[tuple[str, Any, str]]:
    """(name, value, source) of everything that a file sets."""
    if file is None:
        return
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file} cannot be read as TOML: {error}") from error
    for name, value in content.items():
        if isinstance(value, dict) and name in SERIES:
            yield from ((f"{name}.{part}", inner, str(file)) for part, inner in value.items())
        elif isinstance(value, dict) and name in TABLES:
            for one, table in value.items():
                if not isinstance(table, dict):
                    raise SettingsError(f"{file}: {name}.{one} is no table; write [{name}.{_key(one)}]")
                yield from ((f"{name}.{one}.{part}", inner, str(file)) for part, inner in table.items())
        else:
            yield name, value, str(file)


def _in_some_table(found: Mapping[str, tuple[Any, str]], place: str, reason: str) -> str:
    """What is wrong in one of several tables, of which the place, such as by[...].kind, does not say the name."""
    group, _, part = place.replace("[...]", "").partition(".")
    meant = [name for name in found if name.startswith(f"{group}.") and name.endswith(f".{part}" if part else "")]
    said = "; ".join(f"{name} = {found[name][0]!r} comes from {found[name][1]}" for name in meant)
    return f"{place} has an impossible value: {reason} ({said})"


def _in_table(name: str) -> bool:
    """Whether it is a part of something that whoever sets it has named, such as by.platform.kind."""
    group, _, rest = name.partition(".")
    one, _, part = rest.rpartition(".")
    return group in TABLES and bool(one) and part in TABLES[group].__struct_fields__


def _is_list(name: str, value: Any) -> bool:
    """Whether a value is a list that stands in one text, as on a command line."""
    return name.endswith(".values") and isinstance(value, str)


def _of_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """(name, value, source) of everything that variables set; one that resembles a setting is misspelt."""
    known = {VARIABLE_PREFIX + name.replace(".", "_").upper(): name for name in names()}
    for variable, value in environment.items():
        if variable in known:
            yield known[variable], value, variable
        elif variable.startswith(VARIABLE_PREFIX):
            of_series = variable.removeprefix(VARIABLE_PREFIX).startswith(tuple(f"{one.upper()}_" for one in SERIES))
            if near := _nearest(variable, list(known), 0.4 if of_series else 0.8):
                raise SettingsError(
                    f"{variable} is no setting, perhaps {' or '.join(near)} is meant; rename it or unset it"
                )


def _nearest(name: str, known: Sequence[str], alike: float) -> list[str]:
    """The names that are most like one: at least so much, where 1 is the same."""
    ends = {one.removeprefix(VARIABLE_PREFIX): one for one in known}
    return [ends[end] for end in get_close_matches(name.removeprefix(VARIABLE_PREFIX), ends, 2, alike)]


def _from(found: Mapping[str, tuple[Any, str]], message: str) -> str:
    """Where the settings come from that a message names."""
    words = set(re.findall(r"[a-z_]+", message))
    named = [
        f"{name} comes from {source}"
        for name, (_, source) in found.items()
        if set(name.split(".")) <= words or (_in_table(name) and name.rpartition(".")[0] in message)
    ]
    return f" ({', '.join(named)})" if named else ""


def _unset(name: str, value: Any) -> bool:
    """Whether a value says that there is none."""
    if name == "horizon":
        return bool(value == "unlimited")
    return name in ("key", "keys", "first_day", "auto_close", "grpc_port") and value == ""


def settings_text(settings: Settings) -> str:
    """All settings as TOML that `load_settings` reads, but for the passwords of URLs."""
    plain = msgspec.to_builtins(settings) | {
        name: str(place)
        for name, place in (("store", settings.store_place), ("ledger", settings.ledger_place))
        if isinstance(place, DatabaseUrl)
    }
    groups = {name: value for name, value in plain.items() if isinstance(value, dict)}
    lines = [_line(name, value) for name, value in plain.items() if name not in groups]
    named = {name: table for name, table in groups.items() if name not in TABLES}
    named |= {f"{group}.{_key(one)}": table for group in TABLES for one, table in groups[group].items()}
    for name, table in named.items():
        lines += ["", f"[{name}]", *(_line(part, value) for part, value in table.items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    """A name as a key of TOML."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else msgspec.json.encode(name).decode()


def _line(name: str, value: Any) -> str:
    if value is None:
        return f'{name} = "unlimited"' if name == "horizon" else f"# {name} is not set"
    if isinstance(value, dict):
        return f"{name} = {{{', '.join(_line(_key(part), inner) for part, inner in value.items())}}}"
    # JSON spells text, numbers and truth as TOML does.
    return f"{name} = {msgspec.json.encode(value).decode()}"
