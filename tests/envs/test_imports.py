"""Nobody pays for a simulator that is not used."""

import subprocess
import sys


def test_only_the_family_in_use_is_imported() -> None:
    code = (
        "import sys, dreamspi.envs.maze, dreamspi.envs.base;"
        "assert not {'ale_py', 'minatar', 'seaborn', 'pygame'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
