"""A prepared dataset -> one page to look at."""

from ..moved_modules import keep_old_imports

keep_old_imports(__name__)
