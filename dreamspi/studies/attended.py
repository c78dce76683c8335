"""``python -m dreamspi.studies.attended <words>``: the command ``dreamspi <words>``, for as long as somebody waits.

When the process that started it is gone, it gets SIGTERM: a training saves and leaves. So a worker that is killed
leaves no training behind that nobody watches, stops or counts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from dreamspi.cli import main

#: The environment variable that says which process the parent must be.
ATTENDANT = "DREAMSPI_ATTENDANT"
#: Seconds between two looks at who the parent is.
PERIOD = 0.5


def attend(parent: int) -> None:
    """Sends this process SIGTERM once its parent is another than ``parent``."""
    while os.getppid() == parent:
        time.sleep(PERIOD)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    parent = int(os.environ.pop(ATTENDANT))
    threading.Thread(target=attend, args=(parent,), daemon=True).start()
    sys.exit(main())
