# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keys from a file in the format of the AWS tools.

The file is read again every few minutes, so keys can be replaced while the daemon runs.
What is in it goes to the library that signs requests, and nowhere else.
"""

from __future__ import annotations

from configparser import ConfigParser, Error
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pluggd.errors import FailedPrecondition

if TYPE_CHECKING:
    from obstore.store import S3Credential

LIFETIME = timedelta(minutes=5)


class FileCredentials:
    """What obstore calls a credential provider."""

    def __init__(self, file: str, profile: str) -> None:
        self._file = file
        self._profile = profile

    def __call__(self) -> S3Credential:
        """Raises FailedPrecondition, which says what is wrong and none of the values."""
        parser = ConfigParser(interpolation=None)
        try:
            with open(self._file, encoding="utf-8") as stream:
                parser.read_file(stream)
        except OSError as error:
            reason = (error.strerror or "cannot be read").lower()
            raise self._wrong(reason) from None
        except (Error, UnicodeDecodeError):
            # The parser's own text quotes the line it stumbled over.
            raise self._wrong("is not in the format of AWS credentials") from None
        if not parser.has_section(self._profile):
            raise self._wrong(f"has no section [{self._profile}]")
        section = parser[self._profile]
        for key in ("aws_access_key_id", "aws_secret_access_key"):
            if not section.get(key):
                raise self._wrong(f"has no {key} in [{self._profile}]")
        return {
            "access_key_id": section["aws_access_key_id"],
            "secret_access_key": section["aws_secret_access_key"],
            "token": section.get("aws_session_token"),
            "expires_at": datetime.now(UTC) + LIFETIME,
        }

    def _wrong(self, reason: str) -> FailedPrecondition:
        return FailedPrecondition(
            f"credentials_file {self._file}: {reason}: failed precondition"
        )
