# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Make a virtual environment with everything pinned, on a machine with python3 only.

Debian's python3 comes without ensurepip (it is in python3-venv), so `python3 -m venv`
fails on a fresh system. Then the environment is made without pip, and pip's own wheel,
taken from the package index, installs itself: a wheel is a zip that Python can run.

Uses the standard library alone. Run again, it does nothing unless a pin changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ("pyproject.toml", "constraints.txt", "scripts/bootstrap.py")
PIP = "26.0"
"""The oldest pip that is fetched; a newer one is taken when the index has it."""


def main() -> int:
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} DIRECTORY", file=sys.stderr)
        return 2
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever has an older one reads it
        print(
            f"pluggd needs Python 3.11 or newer, this is {sys.version.split()[0]}; "
            "set PYTHON=python3.x",
            file=sys.stderr,
        )
        return 1
    target = Path(sys.argv[1]).absolute()
    stamp = target / ".pins"
    wanted = fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    python = target / "bin" / "python"
    if not python.exists():
        make_environment(target)
    print(f"installing pinned dependencies into {target} ...", flush=True)
    subprocess.run(
        [
            *(str(python), "-m", "pip", "install", "--quiet"),
            *(
                "--disable-pip-version-check",
                "--constraint",
                str(ROOT / "constraints.txt"),
            ),
            *("--editable", f"{ROOT}[dev]"),
        ],
        check=True,
    )
    stamp.write_text(wanted)
    return 0


def fingerprint() -> str:
    """Changes when the environment has to be made anew."""
    digest = hashlib.sha256(f"{sys.version} {ROOT}".encode())
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def make_environment(target: Path) -> None:
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        venv.create(target, with_pip=False)
        install_pip(target)
    else:
        venv.create(target, with_pip=True)


def install_pip(target: Path) -> None:
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/")
    page_url = f"{index}/pip/"
    with urllib.request.urlopen(page_url, timeout=60) as response:
        page = response.read().decode()
        page_url = response.url
    links: list[tuple[tuple[int, ...], str]] = []
    for link in re.findall(r'href="([^"]+)"', page):
        found = re.search(r"/pip-(\d+(?:\.\d+)+)-py3-none-any\.whl(?:#|$)", link)
        if found:
            version = tuple(int(part) for part in found[1].split("."))
            links.append((version, urllib.parse.urljoin(page_url, link)))
    if not links or max(links)[0] < tuple(int(part) for part in PIP.split(".")):
        raise SystemExit(f"no pip {PIP} or newer at {page_url}")
    url, _, checksum = max(links)[1].partition("#sha256=")
    with urllib.request.urlopen(url, timeout=180) as response:
        wheel = response.read()
    if checksum and hashlib.sha256(wheel).hexdigest() != checksum:
        raise SystemExit(f"{url}: the checksum does not match")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / url.rpartition("/")[2]
        path.write_bytes(wheel)
        subprocess.run(
            [
                *(str(target / "bin" / "python"), f"{path}/pip", "install", "--quiet"),
                *("--no-index", "--disable-pip-version-check", str(path)),
            ],
            check=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
