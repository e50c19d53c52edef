"""From logits to figures: the predictions table, metrics, plots and the report. Arrays and tables only, no modules."""

from ger_datasets.moved_modules import keep_old_imports

keep_old_imports(__name__)
