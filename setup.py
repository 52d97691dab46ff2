"""Package list only; everything else is in pyproject.toml.

``codegens/`` in the checkout is installed as ``byoc_codegens``: outside the package ``byoc``, as a vendor's codegen is.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def codegen_packages() -> list[str]:
    return ["byoc_codegens", *(f"byoc_codegens.{name}" for name in find_packages(str(ROOT / "codegens")))]


setup(
    packages=["byoc", *find_packages(str(ROOT), include=["byoc.*"]), *codegen_packages()],
    package_dir={"byoc": "byoc", "byoc_codegens": "codegens"},
    package_data={"byoc": ["py.typed"], "": ["**/*.h", "**/*.c", "**/*.cc"]},
)
