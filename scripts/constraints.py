# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Write constraints.txt: the exact versions of what is installed in this environment."""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path

HEADER = (
    "# Exact versions for reproducible environments; written by `make constraints`.\n"
)
OWN = {"pluggd", "pip", "setuptools", "wheel"}


def main() -> None:
    pins = sorted(
        {
            f"{found.metadata['Name']}=={found.version}"
            for found in distributions()
            if found.metadata["Name"].lower() not in OWN
        },
        key=str.lower,
    )
    path = Path(__file__).resolve().parent.parent / "constraints.txt"
    path.write_text(HEADER + "\n".join(pins) + "\n")


if __name__ == "__main__":
    main()
