"""Makes an installed operator small: `python slim.py SITE_PACKAGES`, when the image is built.

Of the official Kubernetes client the operator uses the configuration, the credentials and the
connection pool.  The generated types and calls, and the second client for asyncio with all that
only it needs, are most of its 72 MB and are left out.
"""

import compileall
import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path
from py_compile import PycInvalidationMode

DISTRIBUTIONS = (
    "aiohappyeyeballs",
    "aiohttp",
    "aiohttp-retry",
    "aiosignal",
    "frozenlist",
    "multidict",
    "propcache",
    "yarl",
)
"""What only kubernetes.aio needs."""
MODULES = ("kubernetes/aio", "kubernetes/client/api", "kubernetes/client/models")
"""Folders of which only `__init__.py` stays; the client imports the rest when it is asked for."""


def main(site: Path) -> None:
    """Remove, then compile: the image's file system is read-only when it runs."""
    for distribution in distributions(path=[str(site)]):
        if distribution.metadata["Name"].lower().replace("_", "-") in DISTRIBUTIONS:
            for file in distribution.files or ():
                Path(str(distribution.locate_file(file))).unlink(missing_ok=True)
    for module in MODULES:
        for path in (site / module).iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "__init__.py":
                path.unlink()
    for cache in [*site.rglob("__pycache__")]:
        shutil.rmtree(cache)
    for folder in sorted((path for path in site.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    unchecked = PycInvalidationMode.UNCHECKED_HASH
    if not compileall.compile_dir(site, quiet=1, invalidation_mode=unchecked):
        raise SystemExit("some modules could not be compiled")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
