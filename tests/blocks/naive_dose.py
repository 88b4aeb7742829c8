"""What the outputs did to the sample and to the tip, counted in plain integers, a cycle at a time."""

from dataclasses import dataclass

from reflexarc.contract.blocks import dose
from reflexarc.contract.blocks.dose import DoseCommand
from reflexarc.contract.blocks.interlock import Cause

RATE_CYCLES = 4  # from a sample of the monitor to the first cycle that counts with it
SAMPLES_AFTER_PULSE = 2
FULL = 1 << 63  # 2**43 electrons in 2**-20: a dose that got there stays


@dataclass(frozen=True)
class Inputs:
    """Of one cycle; samples are None without one."""

    blank: bool = True
    x: int = 0
    y: int = 0
    pulse: bool = False
    pixel_start: bool = False
    frame_start: bool = False
    current: int | None = None
    monitor: int | None = None


class NaiveDose:
    """Doses in 2**-20 electrons. Each count is that of the cycles until now."""

    def __init__(self) -> None:
        self.settings = {r.name: r.reset for r in dose.BLOCK.registers if r.access.value == "rw"}
        self.pixel = self.region = self.frame = 0
        self.open_time = 0
        self.pulses = self.charge = 0
        self.measured = [0] * RATE_CYCLES  # beam current of the last sample, as known so many cycles ago
        self.still_open = 0  # cycles for which the beam stays open with the blanker closed
        self.was_pulse = False
        self.samples_left = 0

    @property
    def rate(self) -> int:
        """Electrons a cycle that count now, in 2**-20."""
        return max(self.settings["beam_rate"], self.measured[0])

    def cycle(self, inputs: Inputs, command: int | None = None) -> None:
        s = self.settings
        if command == DoseCommand.RESET_REGION:
            self.region = 0
        if command == DoseCommand.RESET_TIP:
            self.pulses = self.charge = 0
        # Beam.
        is_open = not inputs.blank or self.still_open > 0
        self.still_open = s["blanker_delay"] if not inputs.blank else max(0, self.still_open - 1)
        if inputs.pixel_start:
            self.pixel = 0
        if inputs.frame_start:
            self.frame = 0
        if is_open:
            self.open_time += 1
            self.pixel += self.rate if self.pixel < FULL else 0
            self.frame += self.rate if self.frame < FULL else 0
            if s["region_x_low"] <= inputs.x <= s["region_x_high"] and s["region_y_low"] <= inputs.y <= s["region_y_high"]:
                self.region += self.rate if self.region < FULL else 0
        newest = self.measured[-1]
        if inputs.monitor is not None:
            newest = max(0, inputs.monitor) * s["monitor_gain"] // 256
        self.measured = [*self.measured[1:], newest]
        # Tip.
        if inputs.pulse and not self.was_pulse:
            self.pulses = min(self.pulses + 1, 0xFFFFFFFF)
        self.was_pulse = inputs.pulse
        if inputs.pulse:
            self.samples_left = SAMPLES_AFTER_PULSE + (inputs.current is not None)
        if inputs.current is not None and self.samples_left:
            self.samples_left -= 1
            self.charge += abs(inputs.current)

    def units(self) -> dict[Cause, int]:
        """Each count in whole units of its limit."""
        return {
            Cause.DOSE_PIXEL: self.pixel >> 20,  # electrons
            Cause.DOSE_REGION: self.region >> 28,  # 256 electrons
            Cause.DOSE_FRAME: self.frame >> 28,
            Cause.PULSES: self.pulses,
            Cause.CHARGE: self.charge >> 8,  # 256 codes
        }

    def limits(self) -> dict[Cause, int]:
        names = {Cause.DOSE_PIXEL: "pixel", Cause.DOSE_REGION: "region", Cause.DOSE_FRAME: "frame"}
        names |= {Cause.PULSES: "pulses", Cause.CHARGE: "charge"}
        return {cause: min(self.settings[f"{name}_limit"], self.settings[f"soft_{name}_limit"]) for cause, name in names.items()}
