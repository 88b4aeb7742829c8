"""What a source of events says of one."""

from amaranth.hdl import signed
from amaranth.lib import data

from reflexarc_hw.lib.formats import POSITION, TIME

FOUND = data.StructLayout({"valid": 1, "class_id": 8, "model_id": 16, "score": signed(32), "x": POSITION, "y": POSITION, "time": TIME})
