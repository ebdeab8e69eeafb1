"""Turn a GGUF file into fp32 safetensors; run as `python -m seamline.models.conversion`.

A child process does this: it takes about 2 GiB of memory, which goes back at once, and its
progress bars and warnings stay out of the caller's output.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from seamline.errors import ModelError

__all__ = ["LOCAL_PACKAGES", "convert", "missing_packages"]

LOCAL_PACKAGES = ("torch", "transformers", "safetensors", "gguf")


def missing_packages() -> list[str]:
    """The packages of the `local` extra that this environment lacks."""
    return [name for name in LOCAL_PACKAGES if importlib.util.find_spec(name) is None]


def convert(source: Path, target: Path, *, tick: Callable[[int], None]) -> None:
    """Write `source` (.gguf) as a transformers folder `target` with fp32 safetensors.

    Args:
        source: The GGUF file.
        target: The folder to fill; made if missing.
        tick: Gets the bytes written so far, several times a second.

    Raises:
        ModelError: The conversion failed; the message carries its last line.
    """
    log = target.with_name(target.name + ".log")
    target.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TQDM_DISABLE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    command = [sys.executable, "-m", "seamline.models.conversion", str(source), str(target)]
    with log.open("wb") as output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            while child.poll() is None:
                tick(sum(file.stat().st_size for file in target.glob("*")))
                time.sleep(0.1)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = lines[-1] if lines else f"exit code {child.returncode}"
        if "No space left" in last:
            raise OSError(28, "No space left on device", str(target))
        raise ModelError(
            f"{source.name} did not convert to safetensors: {last}; the versions tested are in "
            "constraints.txt: pip install -c constraints.txt 'seamline[local]'"
        )
    log.unlink()


def _main(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"gguf_file": source.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **where)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
    # Left in place, these two make save_pretrained claim that the weights are still quantized.
    if hasattr(model.config, "quantization_config"):
        delattr(model.config, "quantization_config")
    model.hf_quantizer = None  # type: ignore[assignment]  # transformers sets it the same way
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
