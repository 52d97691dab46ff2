"""Package list only; everything else is in pyproject.toml.

``codegens/`` in the checkout is installed as ``byoc_codegens``: outside the package ``byoc``, as a vendor's codegen is.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

ROOT = Path(__file__).parent


def packages_in(folder: str, name: str) -> list[str]:
    """`folder` and those below it, folders of C files included, as packages called `name`."""
    below = find_namespace_packages(str(ROOT / folder), exclude=["*__pycache__*"])
    return [name, *(f"{name}.{package}" for package in below)]


setup(
    packages=packages_in("byoc", "byoc") + packages_in("codegens", "byoc_codegens"),
    package_dir={"byoc": "byoc", "byoc_codegens": "codegens"},
    package_data={"": ["*.h", "*.c", "*.cc", "*.css", "*.html", "*.js", "*.in", ".*.in", "*.txt", "py.typed"]},
)
