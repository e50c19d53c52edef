"""The original system's intermediate files -> columns; nothing in them is unpickled."""

from ..moved_modules import keep_old_imports

keep_old_imports(__name__)
