"""A twin without a socket: registers by name, and time counted in samples so that two rates can be held side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.link import BusOperation, BusStatus
from reflexarc.contract.registers import Register
from reflexarc_hw.platforms.timing import Rate
from reflexarc_sim.build import build
from reflexarc_sim.plants.stm import StmPlant
from reflexarc_sim.twin import Twin

WRITE_PHASE = 1  # cycles of a sample period before a write begins
BUS_CYCLES_MAX = 10  # that it may take, so that it ends before the earliest sample of any rate


class SampledTwin:
    """One twin; each ``write`` takes effect in the same place of its own sample period, at any rate.

    ``volts`` collects one row a sample, exactly as the plant saw and answered it: DAC volts x, y, z, bias and the ADC's volts.
    """

    def __init__(self, rate: Rate, plant: StmPlant) -> None:
        self.rate = rate
        self.twin = Twin(build(rate), rate, plant)
        self.calibration = Calibration(sample_period_s=rate.sample_period_ps * 1e-12, cycles_per_sample=rate.cycles_per_sample)
        self._rows: list[NDArray[np.float64]] = []

    def close(self) -> None:
        self.twin.close()

    @property
    def volts(self) -> NDArray[np.float64]:
        return np.array(self._rows)

    def _find(self, name: str) -> tuple[int, Register]:
        block, _, register = name.partition(".")
        return REGISTER_MAP[block].address(register), REGISTER_MAP[block][register]

    def _end_sample(self) -> None:
        """To the boundary of the sample period, and note what the plant saw in it."""
        into = self.twin.cycle % self.rate.cycles_per_sample
        self.twin.run(self.rate.cycles_per_sample - into)
        self._rows.append(np.concatenate([self.twin.plant.dac_V, self.twin.plant.adc_V]))

    def samples(self, count: int) -> None:
        for _ in range(count):
            self._end_sample()

    def write_raw(self, values: Mapping[str, int]) -> None:
        """One write a sample, in order."""
        for name, value in values.items():
            address, register = self._find(name)
            self.twin.run(WRITE_PHASE)
            before = self.twin.cycle
            ((status, _),) = self.twin.bus([(BusOperation.WRITE, address, register.encode(value) & 0xFFFFFFFF)])
            assert status is BusStatus.OK, f"{name}: {status.name}"
            assert self.twin.cycle - before <= BUS_CYCLES_MAX
            self._end_sample()

    def write(self, values: Mapping[str, float]) -> None:
        """In the registers' units."""
        self.write_raw({name: self.calibration.to_raw(self._find(name)[1], value) for name, value in values.items()})

    def read_raw(self, name: str) -> int:
        """Takes as many whole samples as the register has words."""
        address, register = self._find(name)
        pattern = 0
        for word in range(register.words):
            self.twin.run(WRITE_PHASE)
            ((status, value),) = self.twin.bus([(BusOperation.READ, address + 4 * word, 0)])
            assert status is BusStatus.OK, f"{name}: {status.name}"
            pattern |= value << (32 * word)
            self._end_sample()
        return register.decode(pattern)

    def packets(self, stream: int) -> list[bytes]:
        found = []
        while (packet := self.twin.packet(stream)) is not None:
            found.append(packet)
        return found

    def recorder_entries(self) -> list[tuple[int, ...]]:
        """The frozen recorder in raw values, oldest first: current, x, y, z, bias, flags."""
        names = ("current", "x", "y", "z", "bias", "flags")
        addresses = [self._find(f"recorder.{name}") for name in names]
        index = self._find("recorder.index")[0]
        found = []
        for entry in range(self.read_raw("recorder.entries")):
            operations = [(BusOperation.WRITE, index, entry), (BusOperation.READ, addresses[0][0], 0)]
            operations += [(BusOperation.READ, address, 0) for address, _ in addresses]
            answers = self.twin.bus(operations)
            assert all(status is BusStatus.OK for status, _ in answers)
            found.append(tuple(register.decode(value) for (_, register), (_, value) in zip(addresses, answers[2:], strict=True)))
        return found
