"""Photo files -> upright sRGB pixels."""
