"""``python -m dreamspi.studies.attended <parent> <words>``: ``dreamspi <words>``, for as long as its parent waits.

``<parent>`` is the number of the process that started it. Once that is gone, this one gets SIGTERM: a training saves
and leaves. So a worker that is killed leaves no training behind that nobody watches, stops or counts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from dreamspi.cli import main

#: Seconds between two looks at who the parent is.
PERIOD = 0.5


def attend(parent: int) -> None:
    """Sends this process SIGTERM once its parent is another than ``parent``."""
    while os.getppid() == parent:
        time.sleep(PERIOD)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=attend, args=(int(sys.argv[1]),), daemon=True).start()
    sys.exit(main(sys.argv[2:]))
