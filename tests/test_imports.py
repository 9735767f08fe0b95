"""The import rules of the design, read off the source, and a core that runs alone."""

import ast
import graphlib
import importlib
import inspect
import sys
import textwrap

import pytest

from helpers.commands import run_program
from helpers.compilation import quick_xla_flags
from helpers.sources import ROOT, SOURCES

# Rule 1. Each module of the core may import those before it, and `OUTSIDE`.
CORE = (
    "img2eeg_jax.devices.compiler_options",
    "img2eeg_jax.models.convolution",
    "img2eeg_jax.models.layers",
    "img2eeg_jax.models.cornet_s",
    "img2eeg_jax.models.realnet",
    "img2eeg_jax.models.linear_encoder",
    "img2eeg_jax.models.flops",
    "img2eeg_jax.objectives",
    "img2eeg_jax.training.state",
    "img2eeg_jax.training.optimizer",
    "img2eeg_jax.training.step",
    "img2eeg_jax.devices.parallel",
)
OUTSIDE = {"jax", "flax", "optax", "chex", "numpy", *sys.stdlib_module_names}

# Rules 2 and 3. Where a package, or a module of one, may be imported.
HOMES = {
    "tensorflow": ("data/shards/", "data/batches.py", "training/progress.py"),
    "tensorflow_datasets": ("data/shards/",),
    "img2eeg_jax.data.shards.tensorflow_setup": ("data/shards/", "data/batches.py"),
    "tensorboard": ("training/progress.py",),
    "mne": (
        "data/preprocessing/",
        "data/sources/",
        "drawing/",
        "prediction/",
        "evaluation/",
    ),
    "orbax": ("checkpoints/store.py", "checkpoints/array_handler.py"),
    "tensorstore": ("checkpoints/store.py",),
    "torch": ("interop/", "linear/torch_backbone.py"),
    "starlette": ("app/",),
    "uvicorn": ("app/",),
    "absl.flags": ("scripts/",),
    "absl.app": ("scripts/",),
    "ml_collections": (
        "training/experiment.py",
        "training/parts.py",
        "training/plan.py",
        "training/config_check.py",
        "scripts/",
    ),
    "ml_collections.config_flags": ("scripts/",),
}

# Rule 4. Who scores, converts and predicts does not train.
NO_TRAINING = ("prediction/", "evaluation/", "interop/", "linear/", "app/")
PURE_TRAINING = ("img2eeg_jax.training.step",)

BLOCKED = (
    "tensorflow",
    "tensorflow_datasets",
    "mne",
    "ml_collections",
    "torch",
    "tensorboard",
    "orbax",
    "tensorstore",
    "matplotlib",
    "PIL",
)


def imports(nodes):
    """Yields the full names of what the nodes import.

    `from a import b` gives a.b, which names a module if b is one.
    """
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name, module):
    return name == module or name.startswith(f"{module}.")


def own_modules(names):
    """Returns the modules of this package that the names are of."""
    found = set()
    for name in names:
        candidates = [module for module in SOURCES if is_within(name, module)]
        found |= set(sorted(candidates, key=len)[-1:])
    return found


def at_top_level(tree):
    """Yields the nodes that run on import: none inside a function."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_top_level(node)


def test_the_core_is_there():
    assert set(CORE) <= set(SOURCES)
    models = {name for name in SOURCES if name.startswith("img2eeg_jax.models.")}
    assert models <= set(CORE)


@pytest.mark.parametrize("module", CORE)
def test_core_imports_downwards(module):
    _, tree = SOURCES[module]
    found = set(imports(ast.walk(tree)))
    below = set(CORE[: CORE.index(module)])
    own = {name for name in found if is_within(name, "img2eeg_jax")}
    assert own_modules(own) <= below
    assert {name.split(".")[0] for name in found - own} <= OUTSIDE


@pytest.mark.parametrize("module", HOMES)
def test_imported_only_at_home(module):
    strangers = [
        path
        for path, tree in SOURCES.values()
        if any(is_within(name, module) for name in imports(ast.walk(tree)))
        and not path.startswith(HOMES[module])
    ]
    assert strangers == []


def test_only_training_needs_training():
    needing = [
        path
        for path, tree in SOURCES.values()
        if path.startswith(NO_TRAINING)
        and any(
            is_within(name, "img2eeg_jax.training")
            and not any(is_within(name, module) for module in PURE_TRAINING)
            for name in imports(ast.walk(tree))
        )
    ]
    assert needing == []


def test_pmap_only_in_parallel():
    def names(tree):
        for node in ast.walk(tree):
            for field in ("id", "attr", "name"):
                yield getattr(node, field, None)

    users = [path for path, tree in SOURCES.values() if "pmap" in names(tree)]
    assert users == ["devices/parallel.py"]


def test_no_hidden_imports():
    hidden = {"import_module", "__import__"}
    for path, tree in SOURCES.values():
        for node in ast.walk(tree):
            name = getattr(node, "attr", getattr(node, "id", None))
            assert name not in hidden, path


def test_no_cycles():
    graph = {
        module: own_modules(imports(at_top_level(tree))) - {module}
        for module, (_, tree) in SOURCES.items()
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("img2eeg_jax.objectives") < order.index(
        "img2eeg_jax.training.step"
    )


def run_alone(program, environment):
    """Runs a program in a process of its own; returns what it prints."""
    result = run_program(program, **{"PYTHONPATH": str(ROOT), **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_core_runs_alone():
    """One step of training where nothing else can be imported."""
    program = textwrap.dedent(
        f"""
        import sys

        class Blocker:
            def find_spec(self, name, path=None, target=None):
                if any(name == b or name.startswith(b + ".") for b in {BLOCKED}):
                    raise ImportError(name + " is blocked")

        sys.meta_path.insert(0, Blocker())
        for module in {CORE}:
            __import__(module)

        import jax
        import numpy as np
        import optax
        from img2eeg_jax.models.realnet import ReAlNet
        from img2eeg_jax.training.state import create_state
        from img2eeg_jax.training.step import Recipe, make_train_step

        model = ReAlNet(signal_shape=(2, 3), features=4, width=2, num_classes=3)
        image = np.zeros((1, 32, 32, 3), np.float32)
        shapes = jax.eval_shape(model.init, jax.random.key(0), image)
        variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), shapes)
        optimizer = optax.sgd(1e-3)
        step = jax.jit(make_train_step(model, optimizer, Recipe()))
        batch = {{
            "image": np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3),
            "response": np.arange(12, dtype=np.float32).reshape(2, 2, 3),
            "mask": np.ones(2, np.float32),
        }}
        state, metrics = step(create_state(dict(variables), optimizer), {{}}, batch)
        assert int(state.step) == 1 and np.isfinite(metrics["total"][0])
        loaded = [name for name in {BLOCKED} if name in sys.modules]
        assert not loaded, loaded
        print("one step taken")
        """
    )
    environment = {"XLA_FLAGS": quick_xla_flags()}
    assert run_alone(program, environment) == "one step taken\n"


def test_tensorflow_loads_keras_only_when_used():
    program = textwrap.dedent(
        """
        import os
        import sys

        from img2eeg_jax.data.shards.tensorflow_setup import tf

        assert "keras" not in sys.modules
        assert "TF_USE_LEGACY_KERAS" not in os.environ
        tf.keras.layers.Dense
        assert "keras" in sys.modules
        """
    )
    run_alone(program, {})


class TestConfigs:
    """Every key of every config is read somewhere."""

    MODULES = tuple(path.stem for path in sorted((ROOT / "configs").glob("*.py")))

    @staticmethod
    def keys_read():
        """Keys written as `config.KEY`, in the package."""
        return {
            node.attr
            for _, tree in SOURCES.values()
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "config"
            and isinstance(node.ctx, ast.Load)
        }

    @pytest.mark.parametrize("name", MODULES)
    def test_every_key_is_read(self, name):
        from img2eeg_jax.data.sources.synthetic import Parameters

        config = importlib.import_module(f"configs.{name}").get_config().to_dict()
        synthetic = config.get("synthetic", {})
        nested = {key for key, value in config.items() if isinstance(value, dict)}
        assert nested <= {"synthetic"}
        assert set(config) - self.keys_read() == set()
        assert set(synthetic) <= set(inspect.signature(Parameters).parameters)

    def test_an_unread_key_would_be_found(self):
        assert "learning_rate" in self.keys_read()
        assert "learning_rat" not in self.keys_read()
