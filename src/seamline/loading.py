"""Content Python, loaded by path under a private module name.

A content folder has no `__init__.py` and is installed under no name: it is loaded as a private
package whose name includes the folder's own path and code, so `from .index import Index` works
inside it, two projects with a tool of one name do not meet, nothing shadows a user's `tools`, and
code that was edited is not taken for what was loaded before.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from seamline.errors import ConfigError

__all__ = ["load_module"]


def _package_name(folder: Path) -> str:
    """The private package name of a content folder: stable for one path and one code."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"\0{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    stem = "".join(c if c.isalnum() else "_" for c in folder.name)
    return f"_seamline_content_{digest.hexdigest()[:12]}_{stem}"


def _package(folder: Path) -> str:
    name = _package_name(folder)
    if name not in sys.modules:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder.resolve())]
        sys.modules[name] = importlib.util.module_from_spec(spec)
    return name


def load_module(path: Path) -> ModuleType:
    """The module at `path` (a `.py` file), with its folder as its private package.

    Loaded once per process as long as the folder's code stays what it is; siblings are reached
    by relative import.

    Raises:
        ConfigError: the file is missing, or does not import.
    """
    if not path.is_file():
        raise ConfigError(f"no file {path}; expected Python code there")
    name = f"{_package(path.parent)}.{path.stem}"
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise ConfigError(
            f"{path} does not import: {type(error).__name__}: {error}; fix that file"
        ) from error
