"""From logits to figures: the predictions table, metrics, plots and the report. Arrays and tables only, no modules."""
