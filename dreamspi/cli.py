"""The ``dreamspi`` command: train, study, report, evaluate, certify, dream, check, list.

Nothing heavy is imported before it is needed: help and lists answer at once.
"""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from dreamspi import __version__
from dreamspi.errors import (
    EXIT_DIVERGED,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    NO_SPACE,
    Diverged,
    UserError,
    nearest,
    tell,
)

Command = Callable[[list[str]], int]

#: How Python words a warning.
_FORMAT = warnings.formatwarning

HELP = """\
DreamSPI: an agent that learns a world model, dreams in it, and improves its policy safely.

usage: dreamspi <command> [key=value ...]

commands:
  train      Train an agent.           dreamspi train env=minatar/breakout planner=deepspi seed=1
  study      Train many, to compare.   dreamspi study name=first env=[maze] planner=[ppo,deepspi] seeds=3
  report     What the study found.     dreamspi report studies/<name>
  evaluate   Play whole games with it. dreamspi evaluate run=runs/<name> episodes=100 video=true
  certify    What theory promises.     dreamspi certify run=runs/<name>
  dream      Is the model right?       dreamspi dream run=runs/<name> video=true
  check      Try out a world model.    dreamspi check <world_model> [env=...]
  list       Show what there is.       dreamspi list [envs|world_models|planners|studies|...]

options:
  --help     This text; after a command, all about that command.
  --version  The version.

`dreamspi train` alone learns the toy maze in a few minutes.
Exit codes: 0 done, 1 a check failed, 2 wrong input, 3 training diverged, 130 Ctrl-C, 143 SIGTERM (both save).
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; a user's mistake is one line on stderr."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.formatwarning = _as_a_line
    os.environ.setdefault("RL_LOGGING_LEVEL", "WARNING")  # TorchRL's notes on its own workings
    try:
        return _run(words)
    except UserError as error:
        return _say(error, EXIT_USER_ERROR)
    except Diverged as error:
        return _say(error, EXIT_DIVERGED)
    except KeyboardInterrupt:
        return _say("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has left, e.g. `dreamspi list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        return _say("no space left on the disk.", EXIT_USER_ERROR)


def _as_a_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """What a command warns of, without the place in our code; everybody else's warnings as Python has them."""
    if category is UserWarning and filename.startswith(os.path.dirname(os.path.abspath(__file__)) + os.sep):
        return f"warning: {message}\n"
    return _FORMAT(message, category, filename, lineno, line)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(HELP, end="")
        return 0
    if words[0] in ("--version", "-V"):
        print(f"dreamspi {__version__}")
        return 0
    command = COMMANDS.get(words[0])
    if command is None:
        close = nearest(words[0], COMMANDS)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UserError(f"{words[0]}: no such command.{hint} Commands: {', '.join(COMMANDS)}.")
    _check_imports()
    return command(words[1:])


def _train(words: list[str]) -> int:
    from dreamspi import multirun
    from dreamspi.config import compose

    if _wants_help(words):
        from dreamspi.help import train_help

        print(train_help(), end="")
        return 0
    if any(word.startswith("-") for word in words):
        return multirun.run(words)
    config = compose(words)

    from dreamspi.train import train

    return train(config, resume=config.resume is not None)


def _study(words: list[str]) -> int:
    from dreamspi.study import help_text, study

    if _wants_help(words) or not words:
        print(help_text(), end="")
        return 0 if words else EXIT_USER_ERROR
    from dreamspi.studies.request import read

    return study(read(words))


def _module(name: str) -> Command:
    """The command in ``dreamspi/<name>.py``: its ``HELP``, and a function of its own name that takes the words."""

    def run(words: list[str]) -> int:
        if _wants_help(words) or not words:
            print(_help_of(name), end="")
            return 0 if words else EXIT_USER_ERROR
        module = import_module(f"dreamspi.{name}")
        parsed = module.parse_options(words)
        return getattr(module, name)(parsed)

    return run


def _help_of(name: str) -> str:
    """The constant ``HELP`` of a module, read from its file: to import it takes seconds, as it imports torch."""
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    return next(ast.literal_eval(node.value) for node in assigned if ast.unparse(node.targets[0]) == "HELP")


def _list(words: list[str]) -> int:
    from dreamspi.listing import HELP as LIST_HELP
    from dreamspi.listing import listing

    print(LIST_HELP if _wants_help(words) else listing(words), end="")
    return 0


COMMANDS: dict[str, Command] = {
    "train": _train,
    "study": _study,
    **{name: _module(name) for name in ("report", "evaluate", "certify", "dream", "check")},
    "list": _list,
}


def _wants_help(words: list[str]) -> bool:
    return any(word in ("--help", "-h", "help") for word in words)


def _check_imports() -> None:
    """``world_models`` and ``planners`` must be ours: another package installs a ``world_models`` too."""
    from importlib.util import find_spec

    ours = Path(__file__).resolve().parent.parent
    for name in ("world_models", "planners"):
        spec = find_spec(name)
        if spec is None:
            raise UserError(f"the package {name} is missing: the installation is incomplete, install it again.")
        found = [Path(place).resolve() for place in spec.submodule_search_locations or []]
        if ours / name not in found[:1]:
            where = found[0] if found else spec.origin
            raise UserError(
                f"Python finds another package named {name}, at {where}, instead of DreamSPI's. "
                "The PyPI package torchwm has one: uninstall it, or install DreamSPI into an environment of its own."
            )


def _say(message: object, code: int) -> int:
    tell(message)
    return code
