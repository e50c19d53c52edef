"""Predictions -> a folder that a person opens: figures, charts, page and card."""

from ger_datasets.moved_modules import keep_old_imports

keep_old_imports(__name__)
