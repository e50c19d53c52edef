"""The checkpoint that comes with the package: this folder, for any `from_pretrained`."""

from pathlib import Path

STARTER = str(Path(__file__).parent)
