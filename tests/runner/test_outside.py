"""Options that other packages bring, and classes named on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dreamspi.agents import load_agent
from dreamspi.cli import main
from dreamspi.config import compose
from dreamspi.listing import listing
from tests.runner.support import rows, trained
from tests.support import forget_options, refused, tiny

FILES = {
    "model.py": """
from world_models.normal import NormalModel


class Model(NormalModel):
    def __init__(self, observation_spec, num_actions, width=7, encoder="auto"):
        super().__init__(observation_spec, num_actions, encoder=encoder)
        self.width = width
""",
    "planner.py": """
from planners.planner import Planner


class Mine(Planner):
    def improve(self, *args, **keys):
        return super().improve(*args, **keys) | {"mine/improved": 1.0}
""",
    "encoder.py": """
from torch import nn


class Flat(nn.Module):
    def __init__(self, observation_spec, width=7):
        super().__init__()
        self.latent_shape = (width,)
        self.dims = len(observation_spec.shape)
        self.body = nn.Linear(observation_spec.shape.numel(), width)

    def forward(self, observation):
        return self.body(observation.float().flatten(-self.dims))
""",
    "configs/steps.yaml": "# a model of another package\n_target_: outsider.model.Model\nwidth: 5  # how wide\n",
    "configs/cautious.yaml": "# deepspi with a smaller C\ndefaults:\n  - deepspi\n  - _self_\nC: 1.05\n",
    "configs/corridor.yaml": "# the maze, shorter\ndefaults:\n  - maze\n  - _self_\npath_length: 2\n",
    "configs/scalar.yaml": (
        "# rewards by one number\ndefaults:\n  - deterministic\n  - _self_\n"
        "reward:\n  _target_: world_models.heads.ScalarReward\n  hidden: 32\n"
    ),
    "configs/narrow.yaml": "# the same, narrower\ndefaults:\n  - scalar\n  - _self_\nreward:\n  hidden: 16\n",
    "configs/mistaken.yaml": "# a key that is not there\ndefaults:\n  - narrow\n  - _self_\nreward:\n  bins: 5\n",
    "configs/broken.yaml": "{",
    "configs/empty.yaml": "width: 5",
}
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs the package ``outsider``, with these entry points, as pip would."""
    site = tmp_path_factory.mktemp("site")
    for name, content in FILES.items():
        path = site / "outsider" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (site / "outsider" / "__init__.py").touch()
    monkeypatch.syspath_prepend(site)

    def installed(group: str, package: str = "outsider", **points: str) -> None:
        lines = [f"[dreamspi.{group}]", *(f"{name} = {value}" for name, value in points.items())]
        info = site / f"{package}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        with (info / "entry_points.txt").open("a") as file:
            file.write("\n".join(lines) + "\n")
        forget_options()

    forget_options()
    yield installed
    forget_options()
    for name in [name for name in sys.modules if name.partition(".")[0] == "outsider"]:
        del sys.modules[name]


def test_a_part_of_another_class_leaves_behind_what_the_file_below_gave_it(install: Install, tmp_path: Path) -> None:
    """Also two files below; but what stands in the file itself, or was typed, stays, right or wrong."""
    install("world_models", **{name: f"outsider.configs:{name}.yaml" for name in ("scalar", "narrow", "mistaken")})
    for name, hidden in (("scalar", 32), ("narrow", 16)):
        reward = compose([f"world_model={name}"]).world_model.reward
        assert reward == {"_target_": "world_models.heads.ScalarReward", "_partial_": True, "hidden": hidden}
    assert compose(["world_model=narrow", "+world_model.reward.loss=l1"]).world_model.reward.loss == "l1"
    assert compose(["world_model=mistaken"]).world_model.reward.bins == 5
    typed = compose(["world_model=narrow", "world_model.reward._target_=world_models.heads.LipschitzReward"])
    assert "bins" not in typed.world_model.reward
    trained(tmp_path / "run", "world_model=narrow", "planner=deepspi")


def test_a_model_a_planner_and_an_environment_by_entry_point(install: Install) -> None:
    install("world_models", steps="outsider.configs:steps.yaml")
    install("planners", cautious="outsider.configs:cautious.yaml")
    install("envs", corridor="outsider.configs:corridor.yaml")
    text = listing([])
    assert "world_model=steps          a model of another package (package outsider)" in text
    assert "planner=cautious" in text and "env=corridor" in text and "warning" not in text
    assert "outsider" not in sys.modules, "listing imports nothing of it"
    words = ["world_model=steps", "planner=cautious", "env=corridor", "world_model.width=3"]
    config = compose(words)
    assert config.world_model == {"_target_": "outsider.model.Model", "width": 3}
    assert config.planner.C == 1.05 and config.planner.ground.utility.alpha_R == 0.01
    assert config.env.path_length == 2 and config.choices.env == "corridor"
    assert main(["train", *tiny(*words, iterations=1), "run_dir=run"]) == 0
    assert main(["evaluate", "run=run", "episodes=1"]) == 0


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("outsider.configs:gone.yaml", ["there is no file", "outsider/configs/gone.yaml"]),
        ("nowhere.configs:x.yaml", ["Python finds no package nowhere.configs"]),
        ("outsider.model:Model", ['"outsider.model:Model" names no YAML file', "my_package.configs:name.yaml"]),
        ("outsider.configs:broken.yaml", ["broken.yaml can't be read"]),
        ("outsider.configs:empty.yaml", ["neither a _target_", "nor defaults"]),
    ],
)
def test_a_broken_entry_point(
    value: str, parts: list[str], install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own name is refused, the list warns, and everything else works."""
    install("world_models", bad=value, steps="outsider.configs:steps.yaml")
    message = refused(["train", "world_model=bad"], capsys)
    assert message.startswith("world_model=bad: the package outsider brings it, but ")
    listed = listing(["world_models"])
    for part in parts:
        assert part in message and part in listed
    assert f"  warning: {message}" in listed and "world_model=bad  " not in listed
    assert compose(["world_model=steps"]).world_model.width == 5


def test_a_name_that_is_ours_stays_ours(install: Install) -> None:
    """No package that is installed can change what a command meant before; the list tells that it tried."""
    install("world_models", deterministic="outsider.configs:steps.yaml")
    assert "the name of one of DreamSPI's own; rename the entry point" in listing([])
    for words in ([], ["world_model=deterministic"]):
        assert "DeterministicModel" in compose(words).world_model._target_


def test_two_packages_of_one_name(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install("world_models", steps="outsider.configs:steps.yaml")
    install("world_models", package="stranger", steps="outsider.configs:steps.yaml")
    message = refused(["train", "world_model=steps"], capsys)
    assert "outsider" in message and "stranger" in message and "uninstall one of them" in message


@pytest.mark.parametrize("word", ["world_model=outsider.model.Model", "world_model._target_=outsider.model.Model"])
def test_a_class_gets_the_arguments_that_are_added_and_no_others(word: str, install: Install) -> None:
    config = compose([word, "+world_model.width=9"])
    assert config.world_model == {"_target_": "outsider.model.Model", "width": 9}
    assert config.choices.world_model == "outsider.model.Model"


def test_a_planner_without_a_certificate(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """A planner of another class need not have the keys of ours."""
    trained(Path("run"))
    config = OmegaConf.load("run/config.yaml")
    del config.planner["certificate"]
    OmegaConf.save(config, "run/config.yaml")
    assert "planner=ppo has no certificate; nothing to certify" in refused(["certify", "run=run"], capsys)


def test_a_class_in_the_place_of_a_file_s_own_keeps_its_keys() -> None:
    config = compose(["world_model=normal", "world_model._target_=outsider.model.Model"])
    assert config.world_model._target_ == "outsider.model.Model" and "cost" in config.world_model


def test_an_environment_by_its_class() -> None:
    config = compose(["env=dreamspi.envs.maze.MazeEnv", "+env.path_length=2", "total_steps=2048"])
    assert config.env.path_length == 2 and config.env.encoder == "auto"


def test_a_planner_by_its_class_has_the_keys_of_ours(install: Install) -> None:
    words = ["planner=deepspi", "planner._target_=outsider.planner.Mine", "planner.C=1.2"]
    run = trained(Path("run"), *words, iterations=1)
    assert rows(run)[0]["mine/improved"] == "1.0"
    assert OmegaConf.load(run / "config.yaml").planner.C == 1.2


def test_an_encoder_by_its_class(install: Install) -> None:
    encoder = "{_target_: outsider.encoder.Flat, _partial_: true, width: 9}"
    assert main(["train", *tiny(f"world_model.encoder={encoder}", iterations=1), "run_dir=run"]) == 0
    agent = load_agent("run")
    assert agent.planner.encode(agent.env.reset()).shape == (1, 9)


def test_classes_train_side_by_side(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    words = tiny("world_model=deterministic,outsider.model.Model", iterations=1)
    assert main(["train", "-m", *words]) == 0
    assert len(list(Path("runs").glob("*/maze-outsider.model.Model-*/summary.json"))) == 1
    capsys.readouterr()
    assert main(["train", "--cfg", "job", "world_model._target_=outsider.model.Model", "+world_model.width=9"]) == 0
    assert "world_model:\n  _target_: outsider.model.Model\n  width: 9\nplanner:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("world_model=nowhere.Model", ["world_model=nowhere.Model", "No module named 'nowhere'"]),
        ("world_model=outsider.model.Modell", ["world_model=outsider.model.Modell", "outsider.model"]),
        ("world_model=outsider.model.Model world_model.width=9", ["write +world_model.width=9"]),
        ("world_model=outsider.model.Model +world_model.hight=9", ["unexpected keyword argument 'hight'"]),
        ("world_model=outsider.model.Model +planner.wings=2", ["planner.wings: no such key here"]),
        ("world_model._target_=Model", ["world_model=Model: no such name"]),
        ("env=nowhere.Env", ["env=nowhere.Env", "No module named 'nowhere'"]),
    ],
)
def test_wrong_classes(words: str, parts: list[str], install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    keys = {word.partition("=")[0] for word in words.split()}
    message = refused(["train", *tiny(without=keys | {"world_model"}, iterations=1), *words.split()], capsys)
    for part in parts:
        assert part in message
