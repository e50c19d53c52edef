"""Predictions -> a folder that a person opens: figures, charts, page and card."""
