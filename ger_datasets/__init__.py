"""Datasets for group-level emotion recognition, prepared once and loaded with `datasets.load_dataset`."""

from importlib.metadata import version

from .moved_modules import keep_old_imports

__version__ = version("group-emotion")
keep_old_imports(__name__)
