"""Against torch-pruning (https://github.com/VainF/Torch-Pruning), which finds coupled channels by tracing gradients.

It is told two things: which axes of a filter's weights count what it reads and produces, and that `look_bias` counts
channels by its first axis. The groups are its own. Ranks lie inside of a filter, where it does not look.
"""

from __future__ import annotations

import copy

import pytest
import torch
from pruning_cases import FAMILIES, assert_equal

from wavesim.pruning import materialise
from wavesim.pruning.plans import Keep, Mask, units
from wavesim.surrogate.layers import Convolution, CPConvolution

torch_pruning = pytest.importorskip("torch_pruning", reason="the extra `dev` is not installed")

GONE = {"width": [2, 9, 15], "encoder_width": [0, 5]}
FIRST = {"width": "stem", "encoder_width": "look"}  # a layer that produces the channels


class Ends(torch_pruning.pruner.function.BasePruningFunc):
    """A filter reads by the second axis of its first weight, and produces by the first axis of its last one."""

    def cut(self, layer, stage, axis, gone):
        name, weight = stage.filters[0][0], layer.get_parameter(stage.filters[0][0])
        left = [unit for unit in range(weight.shape[axis]) if unit not in gone]
        setattr(layer, name, self._prune_parameter_and_grad(weight, left, axis))
        return layer

    def prune_in_channels(self, layer, gone):
        return self.cut(layer, layer.stages[0], 1, gone)

    def prune_out_channels(self, layer, gone):
        return self.cut(layer, layer.stages[-1], 0, gone)

    def get_in_channels(self, layer):
        return layer.get_parameter(layer.stages[0].filters[0][0]).shape[1]

    def get_out_channels(self, layer):
        return layer.get_parameter(layer.stages[-1].filters[0][0]).shape[0]


def cut_by_torch_pruning(model):
    """The weights of a copy without the channels in GONE."""
    network = copy.deepcopy(model.network)
    graph = torch_pruning.DependencyGraph().build_dependency(
        network,
        (torch.rand(1, network.channels_in, 12, 12), 1 + torch.rand(1, 2, 12, 12)),
        forward_fn=lambda module, given: module(given[0], module.encode(given[1])),
        unwrapped_parameters=[(network.look_bias, 0)],
        customized_pruners={Convolution: Ends(), CPConvolution: Ends()},
    )
    for node in graph.module2node.values():
        if node.type == torch_pruning.ops.OPTYPE.SPLIT:  # parts of a split are told apart; it gives that up behind
            node.enable_index_mapping = True  # any parameter of three axes, which it takes for a transformer's
    for group, gone in GONE.items():
        layer = network.get_submodule(FIRST[group])
        produces = graph.get_pruner_of_module(layer).prune_out_channels
        graph.get_pruning_group(layer, produces, gone).prune()
    return network.state_dict()


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("convolution", FAMILIES)
def test_torch_pruning_cuts_the_same_weights_out(make_forecaster, convolution, layers):
    model = make_forecaster(convolution, ranks=(8,) * layers)
    sizes = units(model)
    left = {group: torch.tensor([unit for unit in range(sizes[group]) if unit not in GONE[group]]) for group in GONE}
    assert_equal(materialise(model, Keep(left)).network.state_dict(), cut_by_torch_pruning(model))


@pytest.mark.parametrize("convolution", FAMILIES)
def test_channels_whose_weights_are_all_gone_are_those_that_it_cuts_out(make_forecaster, convolution):
    """Written by hand: nothing produces the hidden channels, and nothing reads those of the encoder."""
    model = make_forecaster(convolution)
    reads, makes = ("weight", "weight") if convolution == "classical" else ("inward", "outward")
    with torch.no_grad():
        for layer in model.network.filters:
            layer.get_parameter(makes)[GONE["width"]] = 0
        model.network.stem.weight[GONE["width"]] = 0
        model.network.gates.weight[:, GONE["encoder_width"]] = 0
        model.network.look_further.get_parameter(reads)[:, GONE["encoder_width"]] = 0
    small = materialise(model, Mask({}))
    assert (small.config.width, small.config.encoder_width) == (13, 6)
    assert_equal(small.network.state_dict(), cut_by_torch_pruning(model))
