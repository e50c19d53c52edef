"""The packages of the distribution; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

SCRIPTS = "group_emotion_scripts"  # what the folder scripts is called where it is installed

setup(
    packages=[*find_packages(include=["ger_datasets*", "ger_models*"]), SCRIPTS],
    package_dir={SCRIPTS: "scripts"},
)
