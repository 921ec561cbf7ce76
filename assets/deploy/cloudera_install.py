"""Installs the desk on Cloudera AI, in a session that starts in the project's root."""

from __future__ import annotations

import subprocess
import sys

PACKAGES = ("-r", "requirements.txt", "psycopg[binary]>=3.2")

subprocess.run([sys.executable, "-m", "pip", "install", *PACKAGES], check=True)
