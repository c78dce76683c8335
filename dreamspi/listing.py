"""``dreamspi list``: what there is, one line each."""

from __future__ import annotations

from dreamspi.catalogue import ANY_NAME, env_names, first_comment, options, outside
from dreamspi.errors import unknown

HELP = "usage: dreamspi list [envs|world_models|planners|experiments|loggers|studies|launchers]\n"
#: What may be listed, and the configuration group it is.
KINDS = {
    "envs": "env",
    "world_models": "world_model",
    "planners": "planner",
    "experiments": "experiment",
    "loggers": "logger",
    "studies": "study",
    "launchers": "launcher",
}


def listing(words: list[str]) -> str:
    """The lines for these kinds; all kinds for none."""
    for word in words:
        if word not in KINDS:
            raise unknown("list", word, KINDS)
    sections = []
    for kind in words or KINDS:
        rows = [(f"{KINDS[kind]}={_shown(kind, name)}", _sentence(kind, name)) for name in options(KINDS[kind])]
        width = max((len(name) for name, _ in rows), default=0)
        lines = [f"  {name:<{width}}  {sentence}".rstrip() for name, sentence in rows] or ["  (none yet)"]
        lines += [f"  warning: {option.told()}" for option in outside(KINDS[kind]).values() if option.problem]
        sections.append("\n".join([f"{kind}:", *lines]))
    return "\n\n".join(sections) + "\n"


def _shown(kind: str, name: str) -> str:
    return f"{name}/<name>" if kind == "envs" and env_names(name) else name


def _sentence(kind: str, name: str) -> str:
    sentence = first_comment(KINDS[kind], name)
    brought = outside(KINDS[kind]).get(name)
    if brought is not None and not brought.problem:
        sentence = f"{sentence} (package {brought.package})".strip()
    names = env_names(name) if kind == "envs" else []
    if not names or names == [ANY_NAME]:
        return sentence
    shown = ", ".join(names[:6]) + (f", ... ({len(names)})" if len(names) > 6 else "")
    return f"{sentence} [{shown}]"
