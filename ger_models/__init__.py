"""Models for group-level emotion recognition, as transformers models."""
