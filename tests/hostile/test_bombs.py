"""Small files that ask for gigabytes or hours are refused or reduced, by a process that may have 2 GB at most."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import corpus

HERE = Path(__file__).resolve().parent
DECODED = ("rgba_178_megapixels.png", "16bit_178_megapixels.png", "frames.gif")
LEFT_OUT = ("grey_alpha_178_megapixels.png", "1bit_178_megapixels.png")  # are to the others what they are to the test

READ = """
import json, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9))
from pathlib import Path
from ger_datasets.errors import BadPhoto
from ger_datasets.photos import read_photo
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        told = list(read_photo(path).image.size)
    except BadPhoto as reason:
        told = str(reason)
    print(json.dumps([path.name, told, time.process_time() - start]))
"""


def test_bombs_within_two_gigabytes_and_thirty_seconds(tmp_path: Path) -> None:
    bombs = {name: content for name, content in corpus.bombs().items() if name not in LEFT_OUT}
    for name, content in bombs.items():
        assert len(content) < 11_000_000, "small files"
        (tmp_path / name).write_bytes(content)
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = {name: (answer, seconds) for name, answer, seconds in map(json.loads, done.stdout.splitlines())}
    assert told.keys() == bombs.keys()
    for name, (answer, seconds) in told.items():
        assert seconds < 30, name
        assert isinstance(answer, list) == (name in DECODED), (name, answer)
    assert told["rgba_178_megapixels.png"][0] == [5000, 5000]
    assert "pixels" in told["60000x60000.png"][0]
    assert "takes too long" in told["many_scans.jpg"][0]
