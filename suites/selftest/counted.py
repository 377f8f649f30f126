"""What a framework counts in the steps of workloads, to hold the closed forms of `benchmarks.costs` against.

``python -m suites.selftest.counted`` prints it as JSON, a number or more for each of `CASES`, on Keras' backend. On
TensorFlow it walks the graph that would be run, from its results back, and takes the shapes of every product. On JAX it
asks XLA for the floating-point operations of the program that it is given: before optimisation, since on a CPU XLA
finds out that a checkpointed segment is computed twice, and leaves that out. Nothing is run.
"""

import importlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.calls import Step

Counts = dict[str, int]


@dataclass(frozen=True)
class Case:
    """A workload of small sizes that differ from each other, so that no two can be mistaken for one another."""

    technique: str
    sizes: tuple[tuple[str, int], ...]
    operation: str
    without: bool = False

    @property
    def parameters(self) -> dict[str, int]:
        """The sizes by name."""
        return dict(self.sizes)

    @property
    def in_jax(self) -> bool:
        """Whether XLA is asked too: not about training steps, and not about the largest networks, which take long."""
        return self.operation != "train" and self.parameters.get("stages") != 4

    @property
    def convolves(self) -> bool:
        """Whether there are convolutions."""
        return self.technique == "residual" or self.parameters.get("blocks", 0) > 0

    def __str__(self) -> str:
        sizes = "-".join(f"{name}{size}" for name, size in self.sizes)
        return f"{self.technique}-{self.operation}{'-without' if self.without else ''}-{sizes}"


def _cases(technique: str, operations: str, **sizes: int) -> list[Case]:
    """With the technique and without it."""
    return [
        Case(technique, tuple(sizes.items()), operation, without)
        for operation in operations.split()
        for without in (False, True)
    ]


_BOTH = "inference gradient"
_ATTENTION = {"heads": 4, "head_size": 24, "length": 80, "batch": 3}
_WORDS = {"batch": 6, "source": 40, "width": 96, "feed_forward": 112, "heads": 3}
CASES = (
    *_cases("residual", _BOTH, depth=8, stages=3, classes=10, side=16, channels=3, batch=5),
    *_cases("residual", _BOTH, depth=18, stages=4, classes=7, side=64, channels=3, batch=2),
    *_cases("residual", "inference", depth=50, stages=4, classes=7, side=64, channels=3, batch=1),
    *_cases("additive_attention", _BOTH, target=6, width=48, units=56, batch=3, source=20),
    *_cases("dot_product_attention", _BOTH, **_ATTENTION),
    *_cases("dot_product_attention", _BOTH, **_ATTENTION, projected=0),
    *_cases("dot_product_attention", _BOTH, **_ATTENTION, block=128),  # one block: neither of the two looks into loops
    *_cases("transformer", _BOTH, **_WORDS, target=28, layers=2, vocabulary=80),
    *_cases("transformer", _BOTH, **_WORDS),
    *_cases("checkpointing", "gradient", dense=9, blocks=0, width=72, side=8, batch=30),
    *_cases("checkpointing", "gradient", dense=0, blocks=4, width=32, side=16, batch=5),
    *_cases("mixed_precision", "train", side=8, convolutions=2, dense=0, width=6, batch=5),
    *_cases("mixed_precision", "train", side=8, convolutions=0, dense=2, width=24, batch=5),
    *_cases("schedules", "train", batch=12, size=4, side=8, filters=6),
    *_cases("schedules", "train", batch=24, side=8, units=48, steps=100, warm_up=10),
    Case("monitoring", (("every", 2), ("width", 6), ("side", 8), ("batch", 128)), "train", without=True),
    Case(
        "residual", (("depth", 8), ("stages", 3), ("classes", 10), ("side", 8), ("channels", 1), ("batch", 3)), "train"
    ),
)


def counts(backend: str) -> dict[str, Counts]:
    """What the backend says of each case that it can count."""
    count: Callable[[Case], Counts] = {"tensorflow": _Graphs().count, "jax": _programs}[backend]
    return {str(case): count(case) for case in CASES if backend == "tensorflow" or case.in_jax}


def _call(case: Case) -> Callable[[], Any]:
    """The step of a case, by the reference."""
    import keras

    from benchmarks.steps import of_model
    from suites.implementations import implementation
    from suites.subjects import Subject

    bench, parameters = importlib.import_module(f"benchmarks.bench_{case.technique}"), case.parameters
    subject = Subject(implementation(case.technique, "reference"))
    if hasattr(bench, "step"):
        return _with_inputs((bench.without if case.without else bench.step)(subject, parameters, case.operation, 0))
    model = (bench.without if case.without else bench.model)(subject, parameters)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float32")
    return _with_inputs(of_model(model, bench.batch(parameters, 0), case.operation, loss))


def _with_inputs(step: Step) -> Callable[[], Any]:
    """The step with inputs of its own: those of a graph would be sought among its arguments."""
    ((inputs,),) = step.feed(1, draw=0)
    return lambda: step.call(*inputs)


class _Graphs:
    """Counts in TensorFlow's graphs."""

    SAME = ("Reshape", "Transpose", "Cast", "Identity", "ExpandDims", "Squeeze", "Pad", "PadV2", "SelectV2")
    """Operations after which a number is the same, or masked."""

    def __init__(self) -> None:
        import keras
        import tensorflow as tf

        def train_on_batch(model: Any, x: Any, y: Any, **_: Any) -> dict[str, float]:
            if not model.optimizer.built:
                model.optimizer.build(model.trainable_variables)
            model.train_step((tf.convert_to_tensor(x), tf.convert_to_tensor(y)))
            return {"loss": 0.0}

        tf.config.run_functions_eagerly(True)  # within a graph: what is a function of its own becomes part of it
        keras.Model.train_on_batch = train_on_batch  # which would start another graph

    def count(self, case: Case) -> Counts:
        """Multiply-adds, trained weights that are read, and numbers that are factors of products and no weights."""
        import tensorflow as tf

        graph = tf.function(_call(case)).get_concrete_function().graph
        weights = {id(variable.handle): variable for variable in graph.trainable_variables}
        captured = {id(inner): id(outer) for outer, inner in graph.captures}
        products = [op for op in _needed(graph) if _multiply_adds(op)]
        factors = {}
        for op in products:
            for tensor in op.inputs[:2]:
                source = self._source(tensor)
                if source.op.type not in ("ReadVariableOp", "Placeholder"):
                    factors[source.ref()] = source.shape.num_elements()
        return {
            "multiply_adds": sum(_multiply_adds(op) for op in products),
            "weights": sum(v.shape.num_elements() for name, v in weights.items() if name in captured.values()),
            "factors": sum(factors.values()),
        }

    def _source(self, tensor: Any) -> Any:
        while tensor.op.type in self.SAME:
            tensor = tensor.op.inputs[1 if tensor.op.type == "SelectV2" else 0]
        return tensor


def _needed(graph: Any) -> Iterator[Any]:
    """The operations on which a result or an effect depends; others are pruned before a graph is run."""
    waiting, seen = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs), set()
    while waiting:
        op = waiting.pop()
        if op.name not in seen:
            seen.add(op.name)
            yield op
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)


def _multiply_adds(op: Any) -> int:
    """Of one operation, from shapes; of one that is no product, zero.

    TensorFlow's own profiler gives the same for forward passes, but takes the wrong axis where BatchMatMul has `adj_x`,
    and rounds where a convolution strides, so that it is of no use for gradients.
    """
    if op.type in ("MatMul", "BatchMatMulV2"):
        turned = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        return int(op.inputs[0].shape[-2 if turned else -1]) * int(op.outputs[0].shape.num_elements())
    if not op.type.startswith("Conv2D"):
        return 0
    # Of a convolution and of both its gradients: every number of the output meets every tap of its kernel.
    kernel = op.outputs[0] if op.type == "Conv2DBackpropFilter" else op.inputs[1]
    output = op.outputs[0] if op.type == "Conv2D" else op.inputs[2]
    return math.prod(kernel.shape[:3]) * int(output.shape.num_elements())


def _programs(case: Case) -> Counts:
    """What XLA counts in what JAX compiles: all floating-point operations, two for a multiply-add."""
    import jax

    compiling, operations = jax.jit, []

    def jit(function: Callable[..., Any], **options: Any) -> Callable[..., None]:
        def count(*arguments: Any) -> None:
            operations.append(int(compiling(function, **options).lower(*arguments).cost_analysis()["flops"]))

        return count

    jax.jit = jit
    try:
        _call(case)()
    finally:
        jax.jit = compiling
    return {"operations": sum(operations)}


if __name__ == "__main__":
    import keras

    found: Mapping[str, Counts] = counts(keras.backend.backend())
    sys.stdout.write(json.dumps(found) + "\n")
