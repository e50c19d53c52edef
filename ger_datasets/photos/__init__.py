"""Photo files -> upright sRGB pixels."""

from ..moved_modules import keep_old_imports

keep_old_imports(__name__)
