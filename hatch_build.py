"""Ship the five content folders inside the wheel, as `seamline/_project/<folder>`.

Of a skill's versions those go with their adapters that a label names; the others would make up
most of the wheel. Their recipes and cards are there, and their adapters in the source.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("agents", "models", "policies", "tools", "traces")
LEFT_OUT = {"__pycache__", "runs"}
PACKAGED = {"skill.yaml", "adapter_config.json", "adapter_model.safetensors"}
"""What makes of a recipe's folder a version that can run."""


class ProjectHook(BuildHookInterface[Any]):
    """Adds the content to wheels; an editable install reads it from the checkout instead."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Lists every content file, and where it goes."""
        if version == "editable":
            return
        root = Path(self.root)
        skills = root / "models" / "skills"
        lock = json.loads((skills / "skills.lock").read_text(encoding="utf-8"))
        shipped = {
            skills / name / version
            for name, labels in lock["labels"].items()
            for version in labels.values()
        }
        files = [file for folder in FOLDERS for file in sorted((root / folder).rglob("*"))]
        for file in [*files, root / "seamline.yaml"]:
            parts = file.relative_to(root).parts
            hidden = any(part.startswith(".") or part in LEFT_OUT for part in parts)
            older = file.name in PACKAGED and file.parent not in shipped
            if file.is_file() and not hidden and not older:
                build_data["force_include"][str(file)] = "/".join(["seamline/_project", *parts])
