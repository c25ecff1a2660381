"""Every folder under agentprm_dagster is a package of its own; pyproject.toml says all else."""

from setuptools import find_packages, setup

BESIDE = ["agentprm_dagster.assets", "agentprm_dagster.resources"]
"""Packages that lie beside agentprm_dagster, and not in it."""

setup(packages=[*find_packages(include=["agentprm_dagster", "agentprm_dagster.*"]), *BESIDE])
