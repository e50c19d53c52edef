"""Print the lowest version that pyproject.toml admits of each dependency, as constraints for pip."""

from __future__ import annotations

from pathlib import Path

import tomllib
from packaging.requirements import Requirement


def lowest(requirement: Requirement) -> str:
    """The version of its `>=` or `==`."""
    (version,) = [clause.version for clause in requirement.specifier if clause.operator in (">=", "==")]
    return version


def main() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    print("# The lowest versions that pyproject.toml admits; .ci/lowest runs the tests with them.")
    print("# Made by: python .ci/lowest_versions.py > constraints-lowest.txt")
    for line in project["dependencies"]:
        requirement = Requirement(line)
        print(f"{requirement.name}=={lowest(requirement)}")


if __name__ == "__main__":
    main()
