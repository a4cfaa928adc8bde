# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/api/schema.json: the interfaces as they are promised from now on.

    python scripts/api_snapshot.py            # take up what was added
    python scripts/api_snapshot.py --break    # also what was removed or changed

Only additions are taken up: whatever else differs breaks plugins and clients that exist,
and belongs into a new version of the kind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.api.schema import SNAPSHOT, breaks, current, released  # noqa: E402


def main() -> int:
    now = current()
    broken = breaks(released(), now) if SNAPSHOT.exists() else []
    if broken and "--break" not in sys.argv:
        print("\n".join(broken), file=sys.stderr)
        return 1
    SNAPSHOT.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
