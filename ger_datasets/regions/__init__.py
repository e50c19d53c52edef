"""Regions of photos that other pipelines have described: feature archives -> columns."""
