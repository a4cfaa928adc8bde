# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a configuration means, and what is said about a wrong one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pluggd.core.access import AccessRule
from pluggd.core.config import Configuration, configure, settings_of
from pluggd.core.config_files import ConfigError, load
from pluggd.core.discovery import Found
from pluggd.core.failure import Failure
from pluggd.core.settings import Settings
from pluggd.core.toml_text import default_text, dump_text
from pluggd.errors import InvalidArgument
from pluggd.model.record import Record, replace
from pluggd.plugin import Context, Registration
from pluggd.services.images import IMAGES
from pluggd.services.kind import Kind


class Inner(Record, frozen=True):
    deep: int = 1
    """How deep."""


class Options(Record, frozen=True):
    size: int = 4
    """How big, in bytes. Default 4."""
    ratio: float = 0.5
    names: list[str] = []
    inner: Inner = Inner()


@asynccontextmanager
async def start(ctx: Context[Any]) -> AsyncGenerator[object]:
    yield object()


def plugin(kind: str, id: str = "x", **options: Any) -> Found:
    registration: Registration[Any, Any] = Registration(
        provides=Kind(f"test.{kind}.v1", object), id=id, start=start, **options
    )
    return Found(kind, f"/plugins/{kind}", "test", registration)


FOUND = [plugin("store", config=Options), plugin("cache"), plugin("cache", "y")]


def read(tmp_path: Path, text: str, found: list[Found] = FOUND) -> Configuration:
    file = tmp_path / "config.toml"
    file.write_text(text)
    sources = load(file)
    return configure(sources, settings_of(sources), found)


def problems(tmp_path: Path, text: str, found: list[Found] = FOUND) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, found)
    return [one.replace(f"{tmp_path}/", "") for one in caught.value.problems]


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    configuration = read(tmp_path, "")
    assert configuration.settings == Settings()
    assert configuration.records["test.store.v1.x"] == Options()


def test_a_plugin_gets_its_section_with_defaults_filled_in(tmp_path: Path) -> None:
    text = '[plugins."test.store.v1.x"]\nsize = 7\ninner.deep = 3\nratio = 2'
    record = read(tmp_path, text).records["test.store.v1.x"]
    assert record == Options(size=7, ratio=2.0, inner=Inner(deep=3))


def test_an_unknown_key_is_told_with_file_line_and_a_guess(tmp_path: Path) -> None:
    text = 'strict = true\n\n[rpc]\nadress = "x"\n'
    assert problems(tmp_path, text) == [
        'config.toml:4: rpc.adress: unknown key, did you mean "address"?'
    ]


def test_a_table_is_called_so(tmp_path: Path) -> None:
    assert problems(tmp_path, "select = [1]\n") == [
        "config.toml:1: select: expected a table, got a list"
    ]


def test_a_key_of_a_table_that_stands_outside_of_it_is_guessed(tmp_path: Path) -> None:
    assert problems(tmp_path, 'log_level = "debug"\n') == [
        'config.toml:1: log_level: unknown key, did you mean "log.level"?'
    ]


def test_an_unknown_key_of_a_plugin_is_told_likewise(tmp_path: Path) -> None:
    text = '[plugins."test.store.v1.x"]\nsizes = 7\n'
    assert problems(tmp_path, text) == [
        'config.toml:2: plugins."test.store.v1.x".sizes: unknown key,'
        ' did you mean "size"?'
    ]


def test_a_wrong_type_is_told_with_file_and_line(tmp_path: Path) -> None:
    text = '[plugins."test.store.v1.x"]\nsize = "big"\ninner = { deep = "very" }\n'
    assert problems(tmp_path, text) == [
        'config.toml:2: plugins."test.store.v1.x".size: expected int, got str',
        'config.toml:3: plugins."test.store.v1.x".inner.deep: expected int, got str',
    ]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = 'strikt = 1\nstart_deadline = "x"\n[log]\nlevel = 3\n'
    assert len(problems(tmp_path, text)) == 3


def test_values_that_mean_nothing_are_told_with_those_of_plugins(
    tmp_path: Path,
) -> None:
    class Fussy(Record, frozen=True):
        size: int = 1

        def __post_init__(self) -> None:
            if self.size < 1:
                raise InvalidArgument(f"size = {self.size}: must be at least 1")

    uri = "test.fussy.v1.x"
    text = f'[log]\nlevel = "loud"\n[select]\nx = "y"\n[plugins."{uri}"]\nsize = 0\n'
    assert problems(tmp_path, text, [plugin("fussy", config=Fussy)]) == [
        "config.toml:2: log.level: 'loud' is none of debug, info, warning, error",
        f'config.toml:6: plugins."{uri}": size = 0: must be at least 1',
        'config.toml:4: select.x: there is no kind "x"',
    ]


def test_each_value_of_a_table_is_told_with_its_own_line(tmp_path: Path) -> None:
    text = """[select]
cache = 3
store = "x"
[decorate]
cache = "x"
store = [1]
[proxy_plugins]
far = { kind = "store" }
[plugins]
x = 3
"""
    assert problems(tmp_path, text) == [
        "config.toml:2: select.cache: expected str, got int",
        "config.toml:5: decorate.cache: expected a list, got str",
        "config.toml:6: decorate.store: expected str, got int at [0]",
        "config.toml:8: proxy_plugins.far.address: is missing",
        "config.toml:10: plugins.x: expected a table, got int",
    ]


def test_a_table_where_a_value_belongs_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, "rpc = 4") == [
        "config.toml:1: rpc: expected a table, got int"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[log]\nlevel = "loud"', "config.toml:2: log.level: 'loud' is none of debug,"),
        ('[log]\nformat = "xml"', "config.toml:2: log.format: 'xml' is none of text,"),
        ("stop_deadline = 0", "config.toml:1: stop_deadline: must be more than 0"),
        ("[rpc]\nmode = 660", "config.toml:2: rpc.mode: must be between 0o000 and"),
        ("[rpc]\ngrace = -1", "config.toml:2: rpc.grace: must not be negative"),
        (
            "[rpc.limits]\ndepth = 5000",
            "config.toml:2: rpc.limits.depth: must not be more than 1024",
        ),
        (
            "[rpc.limits]\nqueued_max = 20000000",
            "config.toml:2: rpc.limits.queued_max: must be at least queued and message",
        ),
        ("[rpc.limits]\ndepth = 0", "config.toml:2: rpc.limits.depth: must be more"),
        (
            '[[rpc.access.rules]]\nuids = ["root"]',
            "config.toml:2: rpc.access.rules.0.uids: expected int, got str at [0]",
        ),
        (
            '[rpc.access]\ndefault = "allwo"',
            "config.toml:2: rpc.access.default: 'allwo' is none of allow, deny",
        ),
    ],
)
def test_a_value_out_of_range_is_told(tmp_path: Path, text: str, problem: str) -> None:
    (told,) = problems(tmp_path, text)
    assert told.startswith(problem)


@pytest.mark.parametrize(
    "text",
    [
        '[plugins."test.stor.v1.x"]\na = 1',
        'disabled_plugins = ["test.stor.v1.x"]',
        'required_plugins = ["test.stor.v1.x"]',
    ],
)
def test_a_plugin_that_does_not_exist_is_told_with_a_guess(
    tmp_path: Path, text: str
) -> None:
    (told,) = problems(tmp_path, text)
    assert told.startswith("config.toml:1: ")
    assert (
        'there is no plugin "test.stor.v1.x", did you mean "test.store.v1.x"?' in told
    )


@pytest.mark.parametrize("name", ["store", "test.store.v1"])
def test_a_kind_where_a_uri_belongs_is_guessed(tmp_path: Path, name: str) -> None:
    (told,) = problems(tmp_path, f'disabled_plugins = ["{name}"]')
    assert told.endswith('did you mean "test.store.v1.x"?')


def test_it_is_a_warning_when_a_module_could_not_be_loaded(tmp_path: Path) -> None:
    broken = Found("broken", "/p/broken", "test", failure=Failure("ValueError: no"))
    text = 'required_plugins = ["test.other.v1.x"]'
    configuration = read(tmp_path, text, [*FOUND, broken])
    (warning,) = configuration.warnings
    assert "it may be one of broken" in warning


RULES = """[rpc.access]
[[rpc.access.rules]]
effect = "deny"
methods = [%s]"""


@pytest.mark.parametrize(
    ("pattern", "guess"),
    [
        ("image.v1.*", "images.v1.*"),
        ("images", "images.v1.*"),
        ("*.lst", "*.list"),
        ("images.v1.liste", "images.v1.list"),
        ("zebra.v9.stripes", ""),
    ],
)
def test_a_pattern_that_matches_no_method_is_a_warning(
    tmp_path: Path, pattern: str, guess: str
) -> None:
    served: Registration[Any, Any] = Registration(provides=IMAGES, id="x", start=start)
    found = [*FOUND, Found("images", "/plugins/images", "test", served)]
    matching = '"*", "images.*", "images.v1.list", "rpc.v1.hello"'
    assert not read(tmp_path, RULES % matching, found).warnings
    text = RULES % f'{matching}, "{pattern}"'
    (warning,) = read(tmp_path, text, found).warnings
    assert warning == (
        f"{tmp_path}/config.toml:4: rpc.access.rules.0.methods: "
        f'"{pattern}" matches no method of a plugin that is here'
        + (f', did you mean "{guess}"?' if guess else "")
    )
    broken = Found("broken", "/p/broken", "test", failure=Failure("ValueError: no"))
    (warning,) = read(tmp_path, text, [*found, broken]).warnings
    assert warning.endswith("(it may be one of broken, not loaded)")


def test_disabled_and_required_at_once_is_told(tmp_path: Path) -> None:
    text = """disabled_plugins = ["test.cache.v1.x"]
required_plugins = ["test.cache.v1.x"]"""
    assert problems(tmp_path, text) == [
        'config.toml:2: required_plugins: plugin "test.cache.v1.x" is disabled as well'
    ]


@pytest.mark.parametrize("kind", ["cache", '"test.cache.v1"'])
def test_a_provider_is_selected_by_short_or_full_kind(
    tmp_path: Path, kind: str
) -> None:
    configuration = read(tmp_path, f'[select]\n{kind} = "y"')
    assert configuration.selected("test.cache.v1") == "y"
    assert configuration.selected("test.store.v1") == ""


def test_a_selected_provider_that_does_not_exist_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, '[select]\ncache = "z"\ncash = "x"') == [
        'config.toml:2: select.cache: no provider of cache has the id "z",'
        " there is x, y",
        'config.toml:3: select.cash: there is no kind "cash", did you mean "cache"?',
    ]


def test_a_syntax_error_is_told_with_its_line(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, "a = 1\nb = = 2\n")
    assert told == "config.toml:2: invalid value: b = = 2"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: cannot be read: No such file"):
        load(tmp_path / "no.toml")


def test_a_file_that_may_not_be_looked_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may look everywhere; a name that is too long is refused to everybody.
    long = tmp_path / ("x" * 300)
    monkeypatch.setattr("pluggd.paths.default_config", lambda: long / "config.toml")
    with pytest.raises(ConfigError, match=r"x/config\.toml: cannot be read: File name"):
        load()
    (told,) = problems(tmp_path, f'imports = ["{"x" * 300}"]')
    assert told.endswith("x: cannot be read: File name too long")


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b'root = "\xff"')
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(file)


# --- imports


def test_imported_files_are_merged_and_win(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10.toml").write_text(
        '[plugins."test.store.v1.x"]\nsize = 10\nnames = ["b"]'
    )
    (tmp_path / "conf.d" / "20.toml").write_text(
        '[plugins."test.store.v1.x"]\nsize = 20'
    )
    text = """imports = ["conf.d/*.toml"]
[plugins."test.store.v1.x"]
ratio = 0.1
names = ["a", "c"]
"""
    configuration = read(tmp_path, text)
    assert configuration.records["test.store.v1.x"] == Options(
        size=20, ratio=0.1, names=["b"]
    )
    where = configuration.sources.where
    section = ("plugins", "test.store.v1.x")
    assert where((*section, "size")) == f"{tmp_path}/conf.d/20.toml:2"
    assert where((*section, "names")) == f"{tmp_path}/conf.d/10.toml:3"
    assert where((*section, "ratio")) == f"{tmp_path}/config.toml:3"
    assert where((*section, "inner")) == "default"
    # The imports are a value like others, and read from anywhere.
    shown = f'imports = ["{tmp_path}/conf.d/*.toml"]  # {tmp_path}/config.toml:1\n'
    assert dump_text(configuration).startswith(shown)


def test_circular_imports_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text('imports = ["config.toml"]\nstrict = true')
    configuration = read(tmp_path, 'imports = ["other.toml", "config.toml"]')
    assert configuration.settings.strict is True
    assert len(configuration.sources.files) == 2


def test_an_import_that_is_not_there_is_told(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, '\nimports = ["other.toml"]')
    assert told == "config.toml:2: imports: there is no file other.toml"


def test_a_pattern_may_match_nothing(tmp_path: Path) -> None:
    settings = read(tmp_path, 'imports = ["conf.d/*.toml"]').settings
    assert replace(settings, imports=[]) == Settings()


def test_an_import_that_is_no_list_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, "imports = 3") == [
        "config.toml:1: imports: expected a list of str"
    ]


def test_a_table_replaced_by_a_value_is_told_where_it_happens(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("rpc = 1")
    (told,) = problems(tmp_path, 'imports = ["other.toml"]\n[rpc]\nmode = 0o600')
    assert told == "other.toml:1: rpc: expected a table, got int"


def test_relative_directories_start_at_their_file(tmp_path: Path) -> None:
    text = 'root = "r"\nstate = "s"\nplugin_dirs = ["p"]\n[rpc]\naddress = "a.sock"'
    configuration = read(tmp_path, text)
    assert configuration.root == tmp_path / "r"
    assert configuration.state == tmp_path / "s"
    assert configuration.address == tmp_path / "a.sock"
    assert configuration.settings.plugin_dirs == [str(tmp_path / "p")]


def test_root_and_state_must_differ(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, 'root = "r"\nstate = "r"')
    assert told.startswith("config.toml:1: root: root and state must differ")


def test_the_socket_is_in_the_state_directory(tmp_path: Path) -> None:
    assert read(tmp_path, 'state = "s"').address == tmp_path / "s" / "pluggd.sock"


def test_a_flag_wins_and_is_named_as_origin(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[log]\nlevel = "error"')
    sources = load(file, {("log", "level"): "debug"})
    assert settings_of(sources).log.level == "debug"
    assert sources.where(("log", "level")) == "flag --level"


def test_without_a_file_the_default_one_is_read_if_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pluggd.paths.default_config", lambda: tmp_path / "c.toml")
    assert load().files == []
    (tmp_path / "c.toml").write_text("strict = true")
    assert settings_of(load()).strict is True


# --- texts


def test_the_dump_names_origins_and_reads_back_the_same(tmp_path: Path) -> None:
    text = """
root = "r"
[rpc]
mode = 0o600
[[rpc.access.rules]]
uids = [1, 2]
methods = ["images.*"]
[select]
cache = "y"
[plugins."test.store.v1.x"]
names = ["with \\"quotes\\" and ünïcode", "\\u007f"]
inner.deep = 2
"""
    configuration = read(tmp_path, text)
    dump = dump_text(configuration)
    assert f"mode = 0o600  # {tmp_path}/config.toml:4" in dump
    assert "strict = false  # default" in dump
    again = tmp_path / "again"
    again.mkdir()
    second = read(again, dump)
    assert second.records == configuration.records
    assert second.root == configuration.root
    assert dump_text(second).count("again/config.toml") > 20
    assert second.settings.rpc.access == configuration.settings.rpc.access


def test_the_default_text_means_the_defaults(tmp_path: Path) -> None:
    text = default_text(FOUND)
    configuration = read(tmp_path, text)
    assert replace(configuration.settings, plugins={}) == Settings()
    assert configuration.records["test.store.v1.x"] == Options()


def test_the_default_text_tells_what_each_field_means() -> None:
    text = default_text(FOUND)
    assert "# How big, in bytes. Default 4.\nsize = 4\n" in text
    assert '[plugins."test.store.v1.x".inner]\n# How deep.\ndeep = 1\n' in text


def test_the_default_text_shows_a_rule_with_every_key(tmp_path: Path) -> None:
    lines = default_text(FOUND).splitlines()
    begin = lines.index("# [[rpc.access.rules]]")
    end = lines.index("rules = []")
    shown = "\n".join(line.removeprefix("# ") for line in lines[begin:end])
    (rule,) = read(tmp_path, shown).settings.rpc.access.rules
    for key in AccessRule.__struct_fields__:
        assert f"\n{key} = " in shown, key
    assert rule.methods == ["*.list", "*.get"]


def test_every_option_of_the_daemon_has_its_documentation() -> None:
    lines = default_text([]).splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("#"), line
