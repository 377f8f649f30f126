"""How often a gate cries wolf, and what it finds: of a revision against itself, and with a planted slowdown.

    python -m suites.selftest.gate_errors                                  # 100 gates, and 20 with 5% planted
    python -m suites.selftest.gate_errors --neighbour 0.5 --gates 10 --planted 5 --rows results/ten.jsonl

Each gate is the real program in a clone of this checkout, with one race: making the batches of a curriculum, which is
plain Python and NumPy. What is planted waits, after each batch, for a share of the time that making it took. Gates of
both kinds take turns. Rows are kept, and a stopped run goes on where it was.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reports.statistics.intervals import share_interval
from suites.selftest.detection import BUSY

ROOT = Path(__file__).resolve().parents[2]
RACE = ("--technique", "curriculum", "--select", "digits-numpy-", "--only", "races", "--all")
PLACE = Path("reference") / "_curriculum_batches.py"
LINE = "    return (rows_of(data, plan.indices(step)) for step in plan.steps(start))\n"
SLOWED = """    return _slowed(rows_of(data, plan.indices(step)) for step in plan.steps(start))


def _slowed(made: Iterator[Data]) -> Iterator[Data]:
    import time

    while True:
        began = time.perf_counter()
        try:
            batch = next(made)
        except StopIteration:
            return
        ended = time.perf_counter()
        while time.perf_counter() < ended + {share} * (ended - began):
            pass
        yield batch
"""
"""What stands in the place of `LINE` where a slowdown is planted."""


def gate(clone: Path, number: int, seconds: float, keep: Path | None = None) -> tuple[int, str]:
    """One gate of a clone's working tree against its last commit: its exit code, and what it said.

    What it wrote for people and programs is kept in a folder, where one is named.
    """
    output = clone / "results" / str(number)
    words = ["-m", "reports", "gate", "HEAD", *RACE, "--seconds", f"{seconds:g}", "--output", str(output)]
    done = subprocess.run([sys.executable, *words], cwd=clone, capture_output=True, text=True, check=False)
    for name in ("gate.md", "gate.json", "gate.xml"):
        if keep is not None and (output / name).is_file():
            keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(output / name, keep / name)
    shutil.rmtree(output, ignore_errors=True)
    return done.returncode, (done.stdout or done.stderr).strip()


def cloned(folder: Path, share: float) -> Path:
    """A clone of this checkout's last commit, which waits for a share of each batch's time; for none if that is 0.

    Raises:
        SystemExit: the reference no longer holds the line in whose place the waiting is put.
    """
    subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(folder)], check=True)
    if share:
        text = (folder / PLACE).read_text(encoding="utf-8")
        if text.count(LINE) != 1:
            raise SystemExit(f"{PLACE} has changed: expected once {LINE.strip()!r}; mend LINE and SLOWED")
        (folder / PLACE).write_text(text.replace(LINE, SLOWED.replace("{share}", f"{share:g}")), encoding="utf-8")
    return folder


def report(rows: list[dict[str, str]]) -> str:
    """How often each kind of gate closed, and how often it could not tell."""
    lines = []
    for role in ("same", "planted"):
        codes = [row["exit"] for row in rows if row["role"] == role]
        red, low, high = codes.count("1"), *share_interval(codes.count("1"), max(1, len(codes)))
        unmeasured = len(codes) - red - codes.count("0")
        lines.append(
            f"{role}: {red} of {len(codes)} red ({100 * low:.1f} to {100 * high:.1f}%), {unmeasured} not measured"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the gates that are missing, and say what came of all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gates", type=int, default=100, help="of a revision against itself")
    parser.add_argument("--planted", type=int, default=20, help="with a slowdown")
    parser.add_argument("--slowdown", type=float, default=5.0, help="per cent")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each race")
    parser.add_argument("--neighbour", type=float, default=0.0, help="share of the time that one core is kept busy")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="what the last planted gate wrote goes here")
    parser.add_argument("--rows", type=Path, default=Path("results/gate_errors.jsonl"))
    options = parser.parse_args()
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    spread = [(place / options.gates, "same") for place in range(options.gates)]
    spread += [(place / options.planted, "planted") for place in range(options.planted)]
    roles = [role for _, role in sorted(spread)]
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.is_file() else []
    busy = [sys.executable, "-c", BUSY, str(options.neighbour)]
    neighbour = subprocess.Popen(busy) if options.neighbour else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            clones = {
                role: cloned(Path(folder) / role, share)
                for role, share in (("same", 0.0), ("planted", options.slowdown / 100))
            }
            for number, role in enumerate(roles[len(rows) :], start=len(rows)):
                began = time.monotonic()
                code, said = gate(clones[role], number, options.seconds, options.keep if role == "planted" else None)
                rows.append({"role": role, "exit": str(code), "said": said.splitlines()[0] if said else ""})
                with options.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
                spent = time.monotonic() - began
                sys.stderr.write(f"{number + 1}/{len(roles)} {role}: {code}, {spent:.0f} s: {rows[-1]['said']}\n")
    finally:
        if neighbour:
            neighbour.kill()
    print(report(rows))  # noqa: T201


if __name__ == "__main__":
    main()
