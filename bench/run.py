# Copyright The pluggd Authors.
# SPDX-License-Identifier: Apache-2.0
"""pluggd beside containerd, in one run, as ratios: `make bench`.

Each repetition measures group by group, one daemon right after the other, and the
other one first in the next repetition, so that what else the machine does hits both. The load
comes from `peerload`, which is built here. Without Go nothing can be
measured; without containerd, pluggd is measured alone. Needs the standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pulls
from daemons import ROOT, Containerd, Pluggd, Target, environment, running
from figures import Figures, Line, number, spread
from picture import draw
from rows import LIMITS, ROWS, rows_of

GROUPS = ["calib", *dict.fromkeys(row.group for row in ROWS)]
DEFAULT = ["calib", "images", "content", "events", "gc", "pull", "start"]
SIZES = [1000, 10_000, 100_000, 1_000_000]
BOUND = 100_000
"""Images of the largest store that is filled without being asked for."""

GO_SOURCES = "/usr/share/gocode/src/github.com/containerd/containerd"
PACKAGES = "golang-go golang-github-containerd-containerd-dev"


class Bench:
    def __init__(self, options: argparse.Namespace, work: Path) -> None:
        self._options = options
        self._work = work
        self._seeds: Path = options.seeds or work / "seeds"
        self._generator = work / "peerload"
        self.lines: list[Line] = []

    # --- the load generator

    def build(self) -> None:
        say("building the load generator")
        subprocess.run(
            ["go", "build", "-o", str(self._generator), "."],
            cwd=ROOT / "bench" / "peerload",
            env={
                **os.environ,
                "GO111MODULE": "off",
                "GOFLAGS": "",
                "GOPATH": os.environ.get("PEERLOAD_GOPATH", "/usr/share/gocode"),
            },
            check=True,
        )

    def _load(self, command: str, *arguments: object, rep: int = 0) -> None:
        quiet = self._options.quiet
        own = ["-rep", rep, *(["-quiet", quiet] if quiet else [])]
        if command == "gcseed":
            own = []
        # The flags come before the command of `lifecycle`.
        words = [self._generator, command, *own, *arguments]
        done = subprocess.run(
            [str(word) for word in words],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
        self.lines += [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode:
            say(f"{command} failed ({done.returncode}); its rows are missing")

    # --- what is measured

    def calibrate(self, rep: int) -> None:
        self._load("calib", "-dir", self._work / "calib", rep=rep)

    def group(self, target: Target, group: str, rep: int) -> None:
        directory = self._fresh(target)
        with running(target, directory) as pid:
            self._load(
                "bench",
                *("-target", target.name, "-sock", target.socket(directory)),
                *("-pid", pid, "-scale", self._options.scale, "-groups", group),
                rep=rep,
            )

    def collection(self, target: Target, rep: int) -> None:
        blobs = self._options.blobs
        seed = self._seed(target, blobs)
        directory = self._fresh(target)
        subprocess.run(["cp", "-a", str(seed), str(directory)], check=True)
        with running(target, directory) as pid:
            time.sleep(3)  # a first collection after the start is not what is asked
            self._load(
                "gc",
                *("-target", target.name, "-sock", target.socket(directory)),
                *("-pid", pid, "-preseeded", "-blobs", blobs),
                rep=rep,
            )

    def start(self, target: Target, rep: int) -> None:
        directory = self._fresh(target)
        target.prepare(directory)
        self._load(
            "lifecycle",
            *("-target", target.name, "-sock", target.socket(directory)),
            *("-db", target.database(directory), "-log", directory / "log", "--"),
            *target.command(directory),
            rep=rep,
        )

    def pull(self, target: Target, rep: int) -> None:
        reason = pulls.missing()
        if reason:
            raise RuntimeError(f"pull: {reason}; its rows are missing")
        directory = self._fresh(target)
        with (
            pulls.registry(self._work / "registry") as name,
            running(target, directory) as pid,
        ):
            self.lines += pulls.pull(target, directory, pid, name, rep)

    def measure(self, target: Target, group: str, rep: int) -> None:
        say(f"repetition {rep}: {group} of {target.name}")
        try:
            if group == "gc":
                self.collection(target, rep)
            elif group == "pull":
                self.pull(target, rep)
            elif group == "start":
                self.start(target, rep)
            else:
                self.group(target, group, rep)
        except RuntimeError as error:
            say(str(error))

    def _fresh(self, target: Target) -> Path:
        directory = self._work / target.name
        shutil.rmtree(directory, ignore_errors=True)
        return directory

    def _seed(self, target: Target, blobs: int) -> Path:
        """A store with so many referenced blobs; made once, in memory by default."""
        seed = self._seeds / f"{target.name}-{blobs}"
        if not seed.exists():
            say(f"filling {target.name} with {blobs:,} blobs")
            growing = self._seeds / "growing"
            shutil.rmtree(growing, ignore_errors=True)
            with running(target, growing) as pid:
                self._load(
                    "gcseed",
                    *("-target", target.name, "-sock", target.socket(growing)),
                    *("-pid", pid, "-blobs", blobs),
                )
            growing.rename(seed)
        return seed


def say(text: str) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg()[:2])
    print(f"{time.strftime('%H:%M:%S')} load {load}: {text}", file=sys.stderr)


# --- output


def report(figures: Figures, groups: list[str], blobs: int) -> list[dict[str, Any]]:
    """Print the tables; the rows as maps."""
    found = [figures.compare(row) for row in rows_of(groups, blobs)]
    rows = [row for row in found if row is not None]
    print("\n| figure | pluggd | containerd | ratio | required | |")
    print("|---|--:|--:|--:|--:|---|")
    for one in rows:
        peer = f"quiet {spread(one.peer)}" if one.row.own else spread(one.peer)
        print(
            f"| {one.row.label} | {spread(one.pluggd)} {one.row.unit} | {peer} "
            f"| {spread(one.ratios)} | {one.row.required} | {one.verdict} |"
        )
    limits = [line for line in map(figures_limit(figures), LIMITS) if line]
    if limits:
        print("\n| distance to the machine's limit | pluggd | limit | factor |")
        print("|---|--:|--:|--:|")
        print("\n".join(limits))
    noise = figures.noise()
    if noise:
        print(
            f"\nMedians (least-largest) over the repetitions. Other programs used "
            f"{statistics.median(noise):.2f} processors meanwhile, at worst "
            f"{max(noise):.2f} of {os.cpu_count()}."
        )
    return [one.as_map() for one in rows]


def figures_limit(figures: Figures) -> Any:
    def line(limit: tuple[str, str, int, str, str]) -> str:
        label, bench, clients, raw, what = limit
        mine = figures.values("pluggd", bench, clients, "p50_us")
        bare = figures.values("raw", raw, 1, "p50_us")
        if not mine or not bare:
            return ""
        factor = statistics.median(mine) / statistics.median(bare)
        return (
            f"| {label} | {spread(mine)} us | {what} {spread(bare)} us "
            f"| {number(factor)} x |"
        )

    return line


def missing(options: argparse.Namespace) -> str:
    """Why nothing can be measured, or ""."""
    if shutil.which("go") is None:
        return f"there is no Go compiler (Debian: apt install {PACKAGES})"
    if "PEERLOAD_GOPATH" not in os.environ and not Path(GO_SOURCES).is_dir():
        return (
            "the sources of containerd's client library are missing "
            f"(Debian: apt install {PACKAGES}; elsewhere set PEERLOAD_GOPATH)"
        )
    unknown = sorted(set(options.only) - set(GROUPS))
    if unknown:
        return f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}"
    return ""


def targets_of(options: argparse.Namespace) -> list[Target]:
    targets: list[Target] = []
    if options.target in ("both", "pluggd"):
        targets.append(Pluggd(options.pluggd))
    if options.target in ("both", "containerd"):
        containerd = shutil.which(options.containerd)
        if containerd is None:
            say(
                f"{options.containerd} is not installed (Debian: apt install containerd "
                "runc): pluggd is measured alone, without ratios"
            )
        elif os.geteuid() != 0:
            say("containerd needs root: pluggd is measured alone, without ratios")
        else:
            targets.append(Containerd(containerd))
    return targets


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0] if __doc__ else ""
    )
    comma = lambda text: text.split(",")  # noqa: E731
    parser.add_argument(
        "--only",
        type=comma,
        default=DEFAULT,
        metavar="A,B",
        help=f"groups of {', '.join(GROUPS)}",
    )
    parser.add_argument(
        "--target", choices=["both", "pluggd", "containerd"], default="both"
    )
    parser.add_argument("--reps", type=int, help="repetitions (3)")
    parser.add_argument(
        "--scale", type=float, help="factor on the number of operations (1)"
    )
    parser.add_argument(
        "--blobs", type=int, help="blobs among which is collected (100000)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one repetition of half the operations, 1000 blobs: a few minutes",
    )
    parser.add_argument(
        "--quiet",
        default="",
        metavar="30s",
        help="before each bench wait so long at most until others leave the machine alone",
    )
    parser.add_argument(
        "--pluggd",
        default="",
        metavar="COMMAND",
        help="another pluggd than this tree's",
    )
    parser.add_argument("--containerd", default="containerd", metavar="COMMAND")
    parser.add_argument(
        "--work", type=Path, help="a directory on the disk to measure (a temporary one)"
    )
    parser.add_argument(
        "--seeds",
        type=Path,
        help="where stores with many blobs are kept for the next run; best in memory",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the ratios")
    parser.add_argument(
        "--load",
        type=Path,
        metavar="FILE",
        help="measure nothing, show what --json wrote",
    )
    parser.add_argument(
        "--growth",
        action="store_true",
        help="only: what operations of pluggd cost in stores of --sizes images",
    )
    parser.add_argument(
        "--crowd",
        action="store_true",
        help="only: what idle connections and subscribers do to the calls of others",
    )
    parser.add_argument(
        "--sizes",
        type=lambda text: [int(word) for word in text.split(",")],
        metavar="N,N",
        help=f"images of --growth ({', '.join(f'{n:,}' for n in SIZES)})",
    )
    options = parser.parse_args()
    quick = options.quick
    options.reps = options.reps or (1 if quick else 3)
    options.scale = options.scale or (0.5 if quick else 1.0)
    options.sizes = options.sizes or (SIZES[:2] if quick else SIZES)
    options.blobs = options.blobs or (1000 if quick else 100000)
    return options


def main() -> int:
    options = arguments()
    if options.growth or options.crowd:
        alone(options)
        return 0
    if options.load:
        saved = json.loads(options.load.read_text())
        lines, groups, blobs = saved["lines"], saved["groups"], saved["blobs"]
    else:
        reason = missing(options)
        if reason:
            print(f"bench: {reason}", file=sys.stderr)
            return 1
        lines, groups, blobs = measure(options), options.only, options.blobs
    rows = report(Figures(lines), groups, blobs)
    if options.only is DEFAULT and not options.load:
        # Filling a million takes minutes: ask for it with --growth.
        options.sizes = [n for n in options.sizes if n <= BOUND]
        print(f"\nThe stores of this run have at most {BOUND:,} images.")
        options.growth = options.crowd = True
        alone(options)
    if options.json:
        save(options.json, groups, blobs, lines, rows)
    if options.svg:
        options.svg.write_text(draw(rows))
    return 0


def save(
    path: Path,
    groups: list[str],
    blobs: int,
    lines: list[Line],
    rows: list[dict[str, Any]],
) -> None:
    """What `--load` shows again."""
    saved = {"groups": groups, "blobs": blobs, "rows": rows, "lines": lines}
    path.write_text(json.dumps(saved, indent=1) + "\n")


def alone(options: argparse.Namespace) -> None:
    """What only pluggd is measured for; needs no Go."""
    import crowd
    import growth

    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.work) as work:
        if options.growth:
            growth.report(growth.measure(options.sizes, Path(work)))
        if options.crowd:
            crowd.report(crowd.measure(Path(work)))


def measure(options: argparse.Namespace) -> list[Line]:
    targets = targets_of(options)
    if options.work:
        options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.work) as work:
        bench = Bench(options, Path(work))
        bench.build()
        for rep in range(1, options.reps + 1):
            order = targets if rep % 2 else targets[::-1]
            for group in options.only:
                if group == "calib":
                    say(f"repetition {rep}: calibration")
                    bench.calibrate(rep)
                    continue
                for target in order:
                    bench.measure(target, group, rep)
                if options.json:
                    # A run takes its time; one that is ended loses nothing.
                    save(options.json, options.only, options.blobs, bench.lines, [])
        return bench.lines


if __name__ == "__main__":
    sys.exit(main())
