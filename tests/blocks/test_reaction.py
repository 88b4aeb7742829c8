"""Reaction: pulses in ticks, budget, and the cycles from a detection to the bias output."""

from reaction_path import ReactionPath
from support import run_block

from reflexarc_hw.blocks.reaction import Reaction

BIAS_CYCLES = 7  # detection to the gate's bias


def test_reaction():
    run_block(Reaction(), "cocotb_reaction", name="reaction")


def test_reaction_to_bias():
    run_block(ReactionPath(), "cocotb_reaction_path", name="reaction_path", bias_cycles=BIAS_CYCLES)
