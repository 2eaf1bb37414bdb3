"""The settings as they go into a backup: what is in force and the files that it comes from, without passwords."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from config.loader import show_settings
from services.logs import mask_secrets


def settings_texts(environ: Mapping[str, str]) -> dict[str, str]:
    """Texts by their name in the backup. Raises ConfigurationError for settings that cannot be loaded."""
    texts = {"settings.yml": mask_secrets(show_settings(environ=environ))}
    for number, name in enumerate(filter(None, environ.get("CRYPTO_BOT_CONFIG", "").split(os.pathsep)), 1):
        path = Path(name).expanduser()
        name = re.sub(r"[^\w.-]", "_", path.name)  # as a backup takes it; the number tells two files apart
        texts[f"config/{number}-{name}"] = mask_secrets(path.read_text(encoding="utf-8"))
    return texts
