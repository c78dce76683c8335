"""Where experience is gathered: in this process, in worker processes of this machine, on the workers of a Ray cluster.

Each is a ``Source``, and all do the same: N copies of the environment, acting by the learner's policy, in step with it
or one update behind. ``Collection`` knows nothing else of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dreamspi.collectors.base import Maker, Source
from dreamspi.collectors.local import Direct, Overlapping, Processes
from dreamspi.collectors.on_ray import OnRay
from dreamspi.errors import unknown
from dreamspi.replay import Replayable

#: By the value of ``collector.backend``.
SOURCES: dict[str, type[Source]] = {"direct": Direct, "process": Processes, "overlap": Overlapping, "ray": OnRay}


def source(options: Mapping[str, Any], make_env: Maker, policy: Replayable, *shape: Any) -> Source:
    """The source that the configuration's ``collector`` section chooses; see ``Source`` for the other arguments."""
    name = options["backend"]
    if name not in SOURCES:
        raise unknown("collector.backend", name, SOURCES)
    return SOURCES[name](options, make_env, policy, *shape)
