"""Video files -> frames."""
