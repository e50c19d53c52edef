"""Let atheris look for bytes that one of the package's own parsers answers otherwise than by a refusal.

python tests/hostile/fuzz.py PARSER --seconds 60      or `all`, one after the other; needs pip install -e ".[fuzz]"

Ends with 1 where it found something, and says in which file it kept the bytes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MOST_BYTES = 100_000  # of an input; larger ones are no better and slower


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("parser")
    parse.add_argument("--seconds", type=int, default=60)
    parse.add_argument("--keep", type=Path, default=Path("fuzz_findings"), help="Where what was found is kept.")
    given = parse.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: pip install -e '.[fuzz]'", file=sys.stderr)
        return 2
    if given.parser == "all":
        from parsers import PARSERS

        again = [sys.executable, __file__, "--seconds", str(given.seconds), "--keep", str(given.keep.resolve())]
        return max(subprocess.run([*again, name]).returncode != 0 for name in PARSERS)

    with atheris.instrument_imports(include=["ger_datasets", "ger_models", "pickletools"]):
        from parsers import PARSERS
    if given.parser not in PARSERS:
        print(f"no parser {given.parser!r}: there are {', '.join(PARSERS)}", file=sys.stderr)
        return 2
    parser, keep = PARSERS[given.parser], given.keep.resolve()
    keep.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    os.chdir(place)
    (place / "seeds").mkdir()
    for number, content in enumerate(parser.seeds().values()):
        if len(content) <= MOST_BYTES:
            (place / "seeds" / str(number)).write_bytes(content)
    path = place / parser.file

    def one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            parser.parse(path)
        except parser.refusals as error:
            if parser.names_file and path.name not in str(error):
                raise AssertionError("the refusal does not name its file") from error
        if os.path.exists("hostile_code_ran"):
            raise AssertionError("code ran")

    print(f"== {given.parser}: {given.seconds} s", flush=True)
    flags = [f"-max_total_time={given.seconds}", f"-max_len={MOST_BYTES}", "-timeout=30", "-rss_limit_mb=3000"]
    flags += [f"-artifact_prefix={keep}/{given.parser}-", "-verbosity=0", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *flags, str(place / "seeds")], one)
    atheris.Fuzz()  # ends the process
    return 0


if __name__ == "__main__":
    sys.exit(main())
