"""What both packages use and is specific to neither data nor models."""

# Whether `import ger_models` registers its models with transformers at once, which imports torch. Scripts switch it
# off, so that `--help` and the scoring of tables need no torch; `ger_models.auto` registers the models then.
register_models = True
