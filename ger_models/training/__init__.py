"""The parts of scripts/train.py."""

from ger_datasets.moved_modules import keep_old_imports

keep_old_imports(__name__)
