"""Read-out of the board's recorder."""

from __future__ import annotations

from dataclasses import dataclass

from reflexarc.contract.blocks.recorder import Ring
from reflexarc.contract.link import BusOperation, BusStatus
from reflexarc.device.registers import Registers
from reflexarc.device.transport import SocketTransport
from reflexarc.errors import RegisterRefused

FIELDS = ("current", "x", "y", "z", "bias", "flags", "monitor", "current_low", "current_high")


@dataclass(frozen=True)
class BlackBoxEntry:
    """One entry of the recorder; ``index`` 0 is the first after the trip.

    In the long ring an entry is the last of ``decimation`` samples; ``current_low_A`` and ``current_high_A`` are the extremes among them.
    """

    index: int
    current_A: float
    x_m: float
    y_m: float
    z_m: float
    bias_V: float
    flags: int
    monitor_V: float = 0.0
    current_low_A: float = 0.0
    current_high_A: float = 0.0


@dataclass(frozen=True)
class Recording:
    """Both rings of a frozen recorder, oldest entry first; ``decimation`` samples make an entry of the long one."""

    short: list[BlackBoxEntry]
    long: list[BlackBoxEntry]
    decimation: int


async def read_ring(transport: SocketTransport, registers: Registers, ring: Ring) -> list[BlackBoxEntry]:
    """All entries of one ring of a frozen recorder. Reading changes nothing: it can be done again."""
    await registers.write_raw({"recorder.ring": ring})
    entries, after = await registers.read_raw("recorder.entries", "recorder.after_trip")
    addresses = [registers.find(f"recorder.{name}") for name in FIELDS]
    index = registers.find("recorder.index")[0]
    operations = []
    for entry in range(entries):
        # The first read of an entry only gives its memory the time that it needs.
        operations += [(BusOperation.WRITE, index, entry), (BusOperation.READ, addresses[0][0], 0)]
        operations += [(BusOperation.READ, address, 0) for address, _ in addresses]
    results = await transport.bus(operations)
    if any(status is not BusStatus.OK for status, _ in results):
        raise RegisterRefused("the board refused to read its recorder out")
    stride = 2 + len(FIELDS)
    found = []
    for entry in range(entries):
        raw = [register.decode(results[stride * entry + 2 + k][1]) for k, (_, register) in enumerate(addresses)]
        values = [registers.calibration.to_physical(register, value) for value, (_, register) in zip(raw, addresses, strict=True)]
        current_A, x_m, y_m, z_m, bias_V, _, monitor_V, low_A, high_A = values
        found.append(BlackBoxEntry(entry - (entries - after), current_A, x_m, y_m, z_m, bias_V, raw[5], monitor_V, low_A, high_A))
    return found
