"""Typed records from untrusted tables: configuration, recipes and manifests all pass here.

`build` turns a table (parsed TOML or JSON) into a frozen dataclass, field by field. What does not
fit is refused with the full path of the key, and an unknown key with the nearest known one.
Ranges are the dataclass's own business, in `__post_init__`, by `ValueError`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from rille.errors import RilleError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
MAX_TABLE_BYTES = 4 * 1024 * 1024


def build(kind: type[T], table: object, where: str, error: type[RilleError]) -> T:
    """Build a dataclass from a table.

    Args:
        kind: a dataclass; its fields may be str, int, float, bool, other dataclasses, tuples,
            dicts with text keys, `Any`, and unions of one of these with None.
        table: what was parsed.
        where: what to call the table in an error, for example "run.toml: [budget]".
        error: the exception to raise.

    Returns:
        The dataclass, complete and checked.
    """
    if not isinstance(table, Mapping):
        raise error(f"{where} must be a table, not {_shown(table)}")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind) if f.init}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise error(f"{where} has no key {key!r}{nearest(str(key), list(known))}")
    values = {}
    for name, field in known.items():
        if name in table:
            values[name] = _value(hints[name], table[name], f"{where} {name}", error)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(f"{where} lacks the key {name!r}")
    try:
        return kind(**values)
    except (ValueError, RilleError) as wrong:
        raise error(f"{where}: {wrong}") from None


def _value(hint: Any, value: object, where: str, error: type[RilleError]) -> Any:
    """Return `value` as the type `hint` asks for, or refuse it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (a for a in arguments if a is not type(None))
        return _value(inner, value, where, error)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise error(f"{where} must be a list, not {_shown(value)}")
        return tuple(_value(arguments[0], v, f"{where}[{i}]", error) for i, v in enumerate(value))
    if origin is dict or hint is dict:
        if not isinstance(value, Mapping):
            raise error(f"{where} must be a table, not {_shown(value)}")
        inner = arguments[1] if arguments else Any
        return {str(k): _value(inner, v, f"{where}.{k}", error) for k, v in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(typing.cast("type[Any]", hint), value, where, error)
    return _scalar(hint, value, where, error)


def _scalar(hint: Any, value: object, where: str, error: type[RilleError]) -> Any:
    """Return a text, number or flag; whole numbers pass as float, never the other way round."""
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise error(f"{where} must be a finite number, not {value}")
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is bool and isinstance(value, bool):
        return value
    if hint is str and isinstance(value, str):
        return value
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    raise error(f"{where} must be {words.get(hint, hint)}, not {_shown(value)}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_json(path: Path, error: type[RilleError]) -> Any:
    """Read a JSON file of at most `MAX_TABLE_BYTES`.

    Args:
        path: the file.
        error: the exception to raise where it is missing, too long or malformed.
    """
    try:
        return json.loads(read_text(path, error))
    except (ValueError, RecursionError) as wrong:
        raise error(f"{path}: not valid JSON: {str(wrong)[:80]}") from None


def read_toml(path: Path, error: type[RilleError]) -> dict[str, Any]:
    """Read a TOML file of at most `MAX_TABLE_BYTES`.

    Args:
        path: the file.
        error: the exception to raise where it is missing, too long or malformed.
    """
    return parse_toml(read_text(path, error), str(path), error)


def parse_toml(text: str, where: str, error: type[RilleError]) -> dict[str, Any]:
    """Read TOML text.

    Args:
        text: what was read.
        where: what to call it in an error.
        error: the exception to raise where it is malformed.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as wrong:
        raise error(f"{where}: not valid TOML: {wrong}") from None


def read_text(path: Path, error: type[RilleError]) -> str:
    """Read a text file of at most `MAX_TABLE_BYTES`; see `read_json`."""
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise error(f"{path}: longer than {MAX_TABLE_BYTES} bytes, refused")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as wrong:
        raise error(f"{path}: cannot be read ({wrong})") from None


def parse_toml_value(text: str) -> Any:
    """Read one value as TOML would, and anything that is not TOML as plain text.

    ``40`` is a number, ``true`` a flag, ``[1, 2]`` a list; ``sim://moon`` stays text.
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def merge_setting(table: dict[str, Any], setting: str, error: type[RilleError]) -> None:
    """Put one ``section.key=value`` from the command line into a table.

    Raises:
        error: no ``=`` in it, or a section that is a plain value in the table.
    """
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise error(f"--set {setting}: expected section.key=value")
    for key in keys[:-1]:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise error(f"--set {setting}: {key!r} is not a section")
        table = inner
    table[keys[-1]] = parse_toml_value(text.strip())


def to_toml(table: Mapping[str, Any], prefix: str = "") -> str:
    """Write a table of texts, numbers, flags, lists and sections as TOML; None is left out."""
    lines = [
        f"{key} = {_toml_value(value)}"
        for key, value in table.items()
        if value is not None and not isinstance(value, Mapping)
    ]
    text = "\n".join(lines) + ("\n" if lines else "")
    for key, value in table.items():
        if isinstance(value, Mapping):
            name = f"{prefix}{key}"
            text += f"\n[{name}]\n" + to_toml(value, f"{name}.")
    return text


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_toml_value(v)}" for k, v in value.items()) + " }"
    return repr(value)
