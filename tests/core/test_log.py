# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a log line looks like."""

from __future__ import annotations

import io
import json

import pytest

from pluggd.core.log import make_log
from pluggd.services.call import Call, current_call


def line(text: str) -> str:
    """Without its time."""
    assert text.startswith("time=2")
    return text.split(" ", 1)[1]


def test_a_text_line_carries_plugin_request_namespace_and_fields() -> None:
    stream = io.StringIO()
    log = make_log(stream=stream).with_fields(plugin="p")
    token = current_call.set(Call(namespace="ci", request="7"))
    log.info("blob stored", extra={"digest": "sha256:x", "size": 3, "new": True})
    current_call.reset(token)
    assert line(stream.getvalue()) == (
        'level=info msg="blob stored" plugin=p request=7 namespace=ci'
        " digest=sha256:x size=3 new=true\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ('a "quote"', '"a \\"quote\\""'),
        ("a\nb", '"a\\nb"'),
        ("a\x1bb", '"a\\u001bb"'),
        ("of a path \udcff", '"of a path \udcff"'),
        ("k=v", '"k=v"'),
        ("", '""'),
    ],
)
def test_a_value_is_quoted_when_it_needs_it(value: str, text: str) -> None:
    stream = io.StringIO()
    make_log(stream=stream).info("m", extra={"v": value})
    assert stream.getvalue().endswith(f" v={text}\n")
    assert stream.getvalue().count("\n") == 1


def test_a_json_line_is_an_object_with_the_same_fields() -> None:
    stream = io.StringIO()
    log = make_log(format="json", stream=stream).with_fields(plugin="p")
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("it failed", extra={"size": 3})
    fields = json.loads(stream.getvalue())
    assert (fields["level"], fields["msg"], fields["plugin"]) == (
        "error",
        "it failed",
        "p",
    )
    assert fields["size"] == 3
    assert "ValueError: no" in fields["traceback"]


def test_a_detail_follows_on_lines_of_its_own() -> None:
    stream = io.StringIO()
    make_log(stream=stream).info("tree", extra={"detail": "a\n  b", "size": 1})
    assert stream.getvalue().endswith(" msg=tree size=1\na\n  b\n")


def test_an_empty_detail_is_not_written() -> None:
    stream = io.StringIO()
    make_log(format="json", stream=stream).info("tree", extra={"detail": ""})
    assert "detail" not in json.loads(stream.getvalue())


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    log = make_log("warning", stream=stream)
    log.info("no")
    log.warning("yes")
    assert "yes" in stream.getvalue()
    assert "no" not in stream.getvalue().replace("nope", "")


def test_two_logs_do_not_meet() -> None:
    first, second = io.StringIO(), io.StringIO()
    make_log(stream=first).info("one")
    make_log(stream=second).info("two")
    assert "two" not in first.getvalue()
    assert "one" not in second.getvalue()


def test_without_a_stream_it_writes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_log().info("hello")
    assert "msg=hello" in capsys.readouterr().err
