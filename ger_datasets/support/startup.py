"""Whether `import ger_models` registers its models with transformers at once, which imports torch.

The scripts switch it off, so that `--help` and the scoring of tables need no torch; what opens a model imports
`ger_models.auto`, which registers them.
"""

register_models = True
