# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""The grammar, the meaning and the error texts of filters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluggd.errors import InvalidArgument
from pluggd.model.filters import Filter, label_value, parse_filters

RECORD = {
    "name": "foo",
    "id": "a.b-c",
    "digest": "sha256:abcd",
    "image": "docker.io/library/foo:latest",
    "x": "a=b",
    "size": "",
}
LABELS = {"foo": "bar", "a.b/c": "slash", "é": "ü", "empty": ""}

HINT = 'put text with "/" or "|" in double quotes'


def adaptor(path: tuple[str, ...]) -> str | None:
    match path:
        case ("labels", *rest):
            return label_value(LABELS, rest)
        case (name,):
            return RECORD.get(name) or None
        case _:
            return None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name==foo",
        "name == foo",
        "  name  ==  foo",
        "\tname\n==\u3000foo",
        'name=="foo"',
        'name=="f\\x6fo"',
        'name=="\\146\\157\\157"',
        'name=="\\u0066oo"',
        'name=="\\U00000066oo"',
        '"name"==foo',
        "name!=bar",
        "nosuch!=bar",
        'nosuch==x,name==foo,"nosuch"',
        "name~=f",
        'name~=".*"',
        "name~=/f(o){2}/",
        "name~=|^f|",
        'name~="f{1,2}"',
        'nosuch~="^$"',
        "labels.foo",
        "labels.foo==bar",
        'labels."a.b/c"==slash',
        'labels.a."b/c"==slash',
        'labels."é"==ü',
        "labels.empty!=x",
        "id==a.b-c",
        "digest==sha256:abcd",
        "x==a=b",
        "image==docker.io/library/foo:latest",
        "name==foo,labels.foo==bar",
        "name==foo, labels.foo==bar",
        'name=="foo",labels.foo',
        "image~=/library\\/foo/",
    ],
)
def test_filters_that_are_read(text: str) -> None:
    found = parse_filters([text]).match(adaptor)
    assert found is ("nosuch==x" not in text)


@pytest.mark.parametrize(
    "text",
    [
        "nosuch",
        "name==bar",
        "name!=foo",
        "name~=^x",
        "nosuch~=x",
        'nosuch!=""',
        "size",
        "labels",
        "labels.nosuch",
        "labels.empty",
        "labels.empty==x",
        "name.foo",
        "name==foo,labels.foo==baz",
        "name==foo||name==bar",
        "name==FOO",
    ],
)
def test_filters_that_do_not_match(text: str) -> None:
    assert not parse_filters([text]).match(adaptor)


OPERATOR = 'expected an operator ("=="|"!="|"~=")'

ERRORS = {
    "name==": "[name==]: expected value or quoted",
    "name===x": '[name >|=|< ==x]: unsupported operator "==="',
    "name=foo": '[name >|=|< foo]: unsupported operator "="',
    "name==~x": '[name >|=|< =~x]: unsupported operator "==~"',
    "name!foo": '[name >|!|< foo]: unsupported operator "!"',
    " name ": f"[ name ]: {OPERATOR}",
    "name==foo , b": "[name==foo >| |< , b]: unexpected input:  ",
    "name==foo b": "[name==foo >| |< b]: unexpected input:  ",
    "image~=,id": "[image~= >|,|< id]: expected value or quoted",
    "name~=.*": "[name~= >|.|< *]: expected value or quoted",
    "name== =x": "[name==  >|=|< x]: expected value or quoted",
    "name~=f{1,2}": f"[name~=f{{1,2 >|}}|< ]: {OPERATOR}",
    "name==/foo/": f"[name== >|/|< foo/]: invalid quote encountered, {HINT}",
    "name==|foo|": f"[name== >|||< foo|]: invalid quote encountered, {HINT}",
    "topic==/tasks/exit": f"[topic== >|/|< tasks/exit]: invalid quote encountered, {HINT}",
    "/name/==foo": f"[ >|/|< name/==foo]: invalid quote encountered, {HINT}",
    "labels.ns/key": f"[labels.ns >|/|< key]: quoted literal not terminated, {HINT}",
    "labels.ns/key/": f"[labels.ns >|/|< key/]: {OPERATOR}",
    "na-me": f"[na >|-|< me]: {OPERATOR}",
    "a b": f"[a  >|b|< ]: {OPERATOR}",
    ",": "[ >|,|< ]: expected field or quoted",
    "name,": "[name,]: expected field or quoted",
    "labels.": "[labels.]: expected field or quoted",
    "labels. .a": "[labels.  >|.|< a]: expected field or quoted",
    "é==x": "[ >|é|< ==x]: expected field or quoted",
    "naéme": f"[na >|é|< me]: {OPERATOR}",
    'name=="foo': '[name== >|"|< foo]: quoted literal not terminated',
    'name=="fo\no"': '[name== >|"|< fo\no"]: quoted literal not terminated',
    'name=="a\\/b"': '[name== >|"|< a\\/b"]: illegal escape sequence',
    'name=="\\': '[name== >|"|< \\]: quoted literal not terminated',
    'name=="\\xg0"': '[name== >|"|< \\xg0"]: illegal numeric escape sequence',
    'name=="\\u12': '[name== >|"|< \\u12]: illegal numeric escape sequence',
    'name=="\\08"': '[name== >|"|< \\08"]: illegal numeric escape sequence',
    'name=="\\777"': '[name== >|"|< \\777"]: unquoting failed: invalid syntax',
    'name=="\\ud800"': '[name== >|"|< \\ud800"]: unquoting failed: invalid syntax',
    'name=="\\UFFFFFFFF"': '[name== >|"|< \\UFFFFFFFF"]: unquoting failed: invalid syntax',
    "\0": "[ >|\0|< ]: unexpected null",
    "name==a\0": "[name==a >|\0|< ]: unexpected null",
    'name=="a\0"': '[name== >|"|< a\0"]: unexpected null',
    "name==\udc80": "[name== >|\udc80|< ]: rune error",
    "name==\x01": "[name== >|\x01|< ]: expected value or quoted",
    "name~=(": "[name~= >|(|< ]: invalid regular expression: missing ): (",
    "name~= /(?=a)/": "[name~=  >|/|< (?=a)/]: invalid regular expression: "
    "invalid perl operator: (?=",
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_name_the_place_and_the_reason(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filters([text])
    expected = f"filters: parse error: {ERRORS[text]}: invalid argument"
    assert str(caught.value) == expected


def test_strings_are_joined_by_or() -> None:
    assert parse_filters(["name==bar", "name==foo"]).match(adaptor)
    assert not parse_filters(["name==bar", "name==baz"]).match(adaptor)


def test_no_string_or_an_empty_one_matches_everything() -> None:
    assert parse_filters([]).matches_all
    assert parse_filters(["name==bar", ""]).matches_all
    assert parse_filters(["name==bar", ""]).match(adaptor)
    assert not parse_filters(["name"]).matches_all


def test_a_bad_string_is_refused_also_beside_an_empty_one() -> None:
    with pytest.raises(InvalidArgument):
        parse_filters(["", "name=="])


def test_the_empty_string_is_equal_to_what_the_adaptor_calls_empty() -> None:
    assert parse_filters(['parent==""']).match(lambda path: "")
    assert not parse_filters(['parent==""']).match(lambda path: None)


def test_escapes_can_write_bytes_that_are_no_characters() -> None:
    text = parse_filters(['name=="\\xff"'])
    assert text.match(lambda path: b"\xff".decode("utf-8", "surrogateescape"))
    assert parse_filters(['name=="\\xc3\\xa9"']).match(lambda path: "é")
    every = parse_filters(['name=="\\a\\b\\f\\n\\r\\t\\v\\\\\\""'])
    assert every.match(lambda path: '\a\b\f\n\r\t\v\\"')


def test_a_regular_expression_sees_undecodable_bytes_as_the_replacement() -> None:
    assert parse_filters(['name~="^a.$"']).match(lambda path: "a\udc80")
    assert not parse_filters(["name~=^a$"]).match(lambda path: "a\udc80")
    assert parse_filters(['name~="^\\xff$"']).match(lambda path: "\udcff")


def test_a_pattern_that_takes_others_for_ever_takes_no_time() -> None:
    hostile = parse_filters(["name~=(a*)*b"])
    assert not hostile.match(lambda path: "a" * 20_000)


def test_a_pattern_has_a_greatest_length() -> None:
    parse_filters([f'name~="{"a" * 1024}"'])
    with pytest.raises(InvalidArgument, match="longer than 1024 bytes"):
        parse_filters([f'name~="{"a" * 1025}"'])


def test_a_short_pattern_cannot_become_a_large_program() -> None:
    with pytest.raises(InvalidArgument, match=r"pattern too large"):
        parse_filters([r'name~="(?:\\pL{500}){2}"'])


_pieces = st.lists(
    st.sampled_from([*'abz09_.,"/|=!~\\ \n\0é\udc80({*', "name", "labels", "=="])
    | st.characters()
).map("".join)


@given(st.lists(_pieces, max_size=3))
def test_a_filter_or_invalid_argument_and_nothing_else(texts: list[str]) -> None:
    try:
        result = parse_filters(texts)
    except InvalidArgument as caught:
        text = str(caught)
    else:
        assert isinstance(result, Filter)
        assert result.match(adaptor) in (True, False)
        return
    assert text.startswith("filters: parse error: [")
    assert text.endswith(": invalid argument")


@given(st.text(), st.sampled_from(["==", "!="]))
def test_a_value_in_json_quotes_is_compared_as_it_is(value: str, operator: str) -> None:
    quoted = "".join(f"\\U{ord(char):08x}" for char in value)
    found = parse_filters([f'name{operator}"{quoted}"'])
    assert found.match(lambda path: value) is (operator == "==")
