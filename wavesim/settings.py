"""Settings as frozen models with defaults and units, from TOML and to TOML.

They are closed to unknown keys: one is refused with the nearest valid one.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wavesim.errors import WavesimError

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Side = Literal["rigid", "soft", "periodic", "absorbing"]


class Settings(BaseModel):
    """Frozen, closed to unknown keys, and every number finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


LONGEST = 60  # characters of a value in a message
Config = TypeVar("Config", bound=Settings)


def read(path: str | Path) -> dict[str, Any]:
    """The content of a TOML file. Raises WavesimError where there is none."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WavesimError(f"{path} does not exist") from error
    except OSError as error:
        raise WavesimError(f"{path} cannot be read: {error.strerror}; give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WavesimError(f"{path} is not TOML: {error}") from error


def parse(content: dict[str, Any], kind: type[Config], source: str) -> Config:
    """Settings from a plain dictionary; errors as for `load`, with `source` named.

    Strict, as TOML's own kinds are: "64" is no number and 1 no truth value, but 1 is a number where 1.0 is one.
    """
    try:
        return kind.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            valid = _keys_at(kind, first["loc"][:-1])
            near = difflib.get_close_matches(str(first["loc"][-1]), valid, n=1, cutoff=0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"valid keys: {', '.join(valid)}"
            raise WavesimError(f"{source}: unknown key '{where}'; {hint}") from error
        message = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
        raise WavesimError(f"{source}: {where or 'settings'}: {message}{got}") from error


def _keys_at(kind: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        annotation = kind.model_fields[str(part)].annotation
        kind = next(one for one in (*get_args(annotation), annotation) if one is not type(None))
    return list(kind.model_fields)


def as_toml(config: Settings) -> str:
    """All settings as TOML, each under its description; `load` reads it back."""
    lines = [f"# {type(config).__doc__}"]
    for key, field in type(config).model_fields.items():
        value = getattr(config, key)
        if isinstance(value, Settings):
            head, body = as_toml(value).split("\n", 1)
            lines = [*lines[len(lines) == 1 :], head, f"[{key}]", body]
            continue
        if value is None and (table := _table_of(field.annotation)):  # its keys, for whoever takes the marks away
            body = as_toml(table.model_construct()).split("\n", 1)[1]
            asleep = [f"# {line}" for line in (f"[{key}]", *body.splitlines())]
            lines += [f"# {field.description}", f"# {key} is not set", *asleep]
            continue
        # JSON's numbers, strings, booleans and arrays are TOML's too; TOML has no null.
        text = f"# {key} is not set" if value is None else f"{key} = {json.dumps(value)}"
        lines += [*([f"# {field.description}"] if field.description else []), text]
    return "\n".join(lines) + "\n"


def _table_of(annotation: Any) -> type[Settings] | None:
    """The settings that a field may hold, or none."""
    kinds = [one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, Settings)]
    return kinds[0] if kinds else None


def differences(there: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[str]:
    """What differs between two sets of settings, as `config.particles 64 there, 100 now`."""
    found = []
    for key in sorted({*there, *now}):
        before, after = there.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{above}{key}.")
        elif before != after:
            found.append(f"{above}{key} {_short(before)} there, {_short(after)} now")
    return found


def _short(value: Any) -> str:
    """A value as settings have it, in a few words where it is long."""
    if isinstance(value, dict):
        return "given"
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
