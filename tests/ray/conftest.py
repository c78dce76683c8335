"""A real Ray cluster on this machine: a head without cores, and nodes of one core each, added and removed at will."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.studies.processes import environment
from tests.support import own_directory as own_directory

#: Ray runs its workers at the lowest priority; on a busy machine they would take minutes to start.
SETTINGS = environment(RAY_worker_niceness="0", RAY_ENABLE_UV_RUN_RUNTIME_ENV="0")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """With two nodes."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'dreamspi[ray]'")
    from ray.cluster_utils import Cluster

    before = dict(os.environ)
    directory = tempfile.mkdtemp(prefix="ray")  # short, as the paths of sockets must be
    os.environ.update(SETTINGS, RAY_TMPDIR=directory)  # where Ray leaves a note of the newest cluster: not the user's
    head = {
        "num_cpus": 0,
        "include_dashboard": False,
        "temp_dir": f"{directory}/ray",
        "object_store_memory": 100 * 1024**2,
    }
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            add_node(found)
        yield found
    finally:
        found.shutdown()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(directory, ignore_errors=True)


def add_node(cluster: Any) -> Any:
    """A machine more, as far as Ray can tell."""
    return cluster.add_node(num_cpus=1, object_store_memory=100 * 1024**2)
