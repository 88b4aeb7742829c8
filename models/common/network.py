"""Networks: trained with PyTorch, written as plain ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET = 17
Float32 = NDArray[np.float32]


def multiplications(network: nn.Sequential, shape: tuple[int, int, int]) -> int:
    """Of one evaluation."""
    total = 0
    x = torch.zeros((1, *shape))
    for layer in network:
        x = layer(x)
        if isinstance(layer, nn.Conv2d):
            total += x[0].numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()
    return total


def train(
    network: nn.Sequential,
    inputs: Float32,
    allowed: NDArray[np.bool_],
    *,
    members: int = 1,
    bootstrap: bool = False,
    epochs: int,
    batch: int = 256,
    rate: float = 2e-3,
    augment: Any = None,
    seed: int = 1,
    say: bool = True,
) -> None:
    """Minimize the cross entropy with a set of classes for each input: ``allowed`` (n, classes) has the ones that may be said, any of them.

    The outputs of an ensemble's ``members`` stand one behind the other; each is trained as if alone, with ``bootstrap`` on a draw of its own
    from the inputs. ``augment(inputs, generator)`` may change a batch. The rate rises and falls once.
    """
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    x = torch.from_numpy(np.ascontiguousarray(inputs))
    bar = torch.from_numpy(np.where(allowed, 0.0, -1e4).astype(np.float32))
    drawn = random.poisson(1.0, (len(x), members)) if bootstrap else np.ones((len(x), members))
    weights = torch.from_numpy(drawn.astype(np.float32))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    network.train()
    for epoch in range(epochs):
        order = random.permutation(len(x))[: len(x) // batch * batch].reshape(-1, batch)
        total = 0.0
        for chosen in order:
            values = x[chosen]
            if augment is not None:
                values = torch.from_numpy(augment(values.numpy(), random))
            logits = network(values).reshape(batch, members, -1)
            good = torch.logsumexp(logits + bar[chosen][:, None], dim=2)
            loss = ((torch.logsumexp(logits, dim=2) - good) * weights[chosen]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        if say:
            print(f"epoch {epoch + 1:2d}: loss {total / len(order):.4f}", flush=True)
    network.eval()


def outputs(network: nn.Sequential, inputs: Float32, batch: int = 4096) -> Float32:
    with torch.no_grad():
        parts = [network(torch.from_numpy(np.ascontiguousarray(inputs[k : k + batch]))).numpy() for k in range(0, len(inputs), batch)]
    return np.concatenate(parts)


def save(network: nn.Sequential, shape: tuple[int, int, int], path: Path, metadata: dict[str, Any]) -> None:
    """Write ``model.onnx``: input "x" [n, channels, rows, records], output "y" [n, outputs]. ``metadata`` goes in as JSON, key by key."""
    nodes, weights, name, x = [], [], "x", torch.zeros((1, *shape))

    def constant(label: str, tensor: torch.Tensor) -> str:
        weights.append(numpy_helper.from_array(tensor.detach().numpy().astype(np.float32), label))
        return label

    for number, layer in enumerate(network):
        x = layer(x)
        out = "y" if number == len(network) - 1 else f"t{number}"
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None and not isinstance(layer.padding, str)
            inputs = [name, constant(f"w{number}", layer.weight), constant(f"b{number}", layer.bias)]
            pads = [*layer.padding, *layer.padding]
            attributes = dict(kernel_shape=layer.kernel_size, strides=layer.stride, pads=pads, group=layer.groups)
            nodes.append(helper.make_node("Conv", inputs, [out], f"conv{number}", **attributes))
        elif isinstance(layer, nn.Linear):
            inputs = [name, constant(f"w{number}", layer.weight), constant(f"b{number}", layer.bias)]
            nodes.append(helper.make_node("Gemm", inputs, [out], f"gemm{number}", transB=1))
        elif isinstance(layer, nn.ReLU):
            nodes.append(helper.make_node("Relu", [name], [out], f"relu{number}"))
        elif isinstance(layer, nn.MaxPool2d):
            kernel, stride = ((size, size) if isinstance(size, int) else size for size in (layer.kernel_size, layer.stride))
            nodes.append(helper.make_node("MaxPool", [name], [out], f"pool{number}", kernel_shape=kernel, strides=stride))
        elif isinstance(layer, nn.Flatten):
            nodes.append(helper.make_node("Flatten", [name], [out], f"flatten{number}", axis=1))
        else:
            raise TypeError(f"no ONNX for {layer}")
        name = out
    graph = helper.make_graph(
        nodes,
        path.parent.name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", x.shape[1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="reflexarc")
    model.ir_version = 8  # of opset 17's time: read by every onnxruntime since
    helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
