"""Ship the five content folders inside the wheel, as `seamline/_project/<folder>`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("agents", "models", "policies", "tools", "traces")
LEFT_OUT = {"__pycache__", "runs"}


class ProjectHook(BuildHookInterface[Any]):
    """Adds the content to wheels; an editable install reads it from the checkout instead."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Lists every content file, and where it goes."""
        if version == "editable":
            return
        root = Path(self.root)
        files = [file for folder in FOLDERS for file in sorted((root / folder).rglob("*"))]
        for file in [*files, root / "seamline.yaml"]:
            parts = file.relative_to(root).parts
            hidden = any(part.startswith(".") or part in LEFT_OUT for part in parts)
            if file.is_file() and not hidden:
                build_data["force_include"][str(file)] = "/".join(["seamline/_project", *parts])
