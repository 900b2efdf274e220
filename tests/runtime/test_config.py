"""Configuration: typed, refused with a hint, written back as it was read."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from rille.config import RunConfig, read_config
from rille.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib
from rille.schema import parse_toml_value, to_toml


def test_defaults_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(RunConfig().to_toml())
    assert read_config(path) == RunConfig()


def test_settings_come_after_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[budget]\nframe_ms = 80\n[source]\nuri = "images://x"\n')
    config = read_config(path, ["budget.frame_ms=40", "output.video=false"])
    assert config.budget.frame_ms == 40.0
    assert config.source.uri == "images://x"
    assert config.output.video is False


def test_setting_one_key_of_a_section_keeps_the_others() -> None:
    config = read_config(None, ["segment.variant=tflite-int8"])
    assert (config.segment.bundle, config.segment.variant) == ("moon-rocks", "tflite-int8")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("budget.frame_m=40", "no key 'frame_m'; did you mean 'frame_ms'"),
        ("bugdet.frame_ms=40", "no key 'bugdet'; did you mean 'budget'"),
        ("budget.frame_ms=soon", "must be a number, not 'soon'"),
        ("budget.frame_ms=0", "budget.frame_ms must be above 0"),
        ("budget.frame_ms=-3", "budget.frame_ms must be above 0"),
        ("budget.frame_ms=nan", "must be a finite number"),
        ("budget.frame_ms=inf", "must be a finite number"),
        ("budget.frame_ms=true", "must be a number, not True"),
        ("output.video=1", "must be true or false"),
        ("engine.threads=1.5", "must be a whole number"),
        ("engine.threads=1000", "threads must be from 0 to 64"),
        ("output.sinks=x", "must be a list"),
        ("budget=3", "must be a table"),
        ("budget", "expected section.key=value"),
        ("=3", "expected section.key=value"),
        ("source.uri.deep=3", "has no key|is not a section|must be a text"),
    ],
)
def test_what_does_not_fit_is_refused(setting: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_config(None, [setting])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("[budget\n")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        read_config(tmp_path / "bad.toml")
    (tmp_path / "bin.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "bin.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * (5 << 20))
    with pytest.raises(ConfigError, match="longer than"):
        read_config(tmp_path / "long.toml")


def test_values_on_the_command_line_are_read_as_toml() -> None:
    assert parse_toml_value("40") == 40
    assert parse_toml_value("true") is True
    assert parse_toml_value('["a", "b"]') == ["a", "b"]
    assert parse_toml_value("sim://moon?seed=7") == "sim://moon?seed=7"


def test_toml_is_written_as_toml() -> None:
    table = {
        "text": 'quo"te \\ and ü',
        "list": [1, 2.5, "x"],
        "none": None,
        "part": {"flag": True, "inner": {"n": 3}},
        "rows": [{"op": "gray"}, {"op": "resize", "width": 4}],
    }
    back = tomllib.loads(to_toml(table))
    assert back == {k: v for k, v in table.items() if v is not None}
    assert tomllib.loads(RunConfig().to_toml())["budget"] == asdict(RunConfig().budget)
