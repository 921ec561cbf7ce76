"""The desk as a Cloudera AI application: on 127.0.0.1 and the port in CDSW_APP_PORT, from the project's root.

The platform runs a script within IPython, whose event loop and signals the desk cannot share, so `app.py` takes the
process over.
"""

from __future__ import annotations

import os
import sys

sys.stdout.flush()
os.execv(sys.executable, [sys.executable, "app.py"])  # noqa: S606  # no shell is wanted
