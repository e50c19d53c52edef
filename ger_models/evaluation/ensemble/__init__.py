"""Several predictions tables -> the weights of an ensemble."""

from ger_datasets.moved_modules import keep_old_imports

keep_old_imports(__name__)
