"""``dreamspi train --help``, written from the configuration files themselves."""

from __future__ import annotations

from dreamspi.catalogue import GROUPS, config_directory, documented_keys, env_names, options

EXAMPLES = """\
examples:
  dreamspi train                                              the toy maze, with the defaults
  dreamspi train env=minatar/breakout planner=deepspi seed=1  three words changed
  dreamspi train planner.C=1.2 world_model=categorical        a key of the planner, another model
  dreamspi train -m planner=ppo,deepspi seed=1,2,3            a multi-run: six runs, one after another
  dreamspi train --cfg job                                    show the whole configuration, train nothing
  dreamspi train resume=runs/<name>                           go on from the newest good checkpoint
"""


def train_help() -> str:
    """Groups with their options, plain keys with their sentences and defaults, examples."""
    lines = ["usage: dreamspi train [-m] [group=name ...] [key=value ...]", "", "groups:"]
    for group, sentence in GROUPS.items():
        names = [f"{name}/<name>" if group == "env" and env_names(name) else name for name in options(group)]
        lines.append(f"  {group:<12} {sentence}")
        lines.append(f"  {'':<12} {' | '.join(names) or '(none yet)'}")
    lines += ["", "keys:"]
    keys = [key for key in documented_keys(config_directory() / "config.yaml") if key.name not in GROUPS]
    width = max(len(f"{key.name}={key.default}") for key in keys)
    lines += [f"  {f'{key.name}={key.default}':<{width}}  {key.sentence}" for key in keys]
    lines += [
        "",
        "Every key of a group is set the same way, e.g. planner.C=1.2; a file's own comments explain its keys:",
        f"  {config_directory()}",
        "",
    ]
    return "\n".join(lines) + "\n" + EXAMPLES
