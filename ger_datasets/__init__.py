"""Datasets for group-level emotion recognition, prepared once and loaded with `datasets.load_dataset`."""
