"""Datasets for group-level emotion recognition, prepared once and loaded with `datasets.load_dataset`."""

from importlib.metadata import version

__version__ = version("group-emotion")
