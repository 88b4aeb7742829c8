"""The conditions on the raw samples in plain integers, a sample at a time."""

from naive_oscillation import NaiveOscillation

from reflexarc.contract.blocks import signals
from reflexarc.contract.blocks.interlock import SIGNAL_CAUSES, Cause
from reflexarc.contract.blocks.signals import CODE_MAX, CODE_MIN, CURRENT, MONITOR

NAMES = {CURRENT: "current", MONITOR: "monitor"}
HIGH = {CURRENT: Cause.CURRENT_HIGH, MONITOR: Cause.MONITOR_HIGH}
LOW = {CURRENT: Cause.CURRENT_LOW, MONITOR: Cause.MONITOR_LOW}
SLEW = {CURRENT: Cause.CURRENT_SLEW, MONITOR: Cause.MONITOR_SLEW}


class NaiveSignals:
    """Everything that was sampled until now, and what follows from it."""

    def __init__(self, channels: int) -> None:
        self.settings = {r.name: r.reset for r in signals.BLOCK.registers}
        self.seen: dict[int, list[int]] = {channel: [] for channel in range(channels)}  # samples of each converter
        self.judged_by: dict[int, tuple[int, int, int]] = dict.fromkeys(range(channels), (0, 0, 0))  # limits of the last sample
        self.saturated = dict.fromkeys(range(channels), False)
        self.enabled = set(SIGNAL_CAUSES)
        self.by_sample: set[Cause] = set()  # verdicts that are made with a sample and hold until the next
        self.pulse = False
        self.pulse_samples = 0  # of the pulse that is under way, judged by its limits
        self.contact = False
        self.oscillation = NaiveOscillation(2, 7, 12)

    def set_pulse(self, pulse: bool) -> None:
        self.pulse = pulse
        if not pulse:
            self.pulse_samples = 0

    @property
    def pulse_counts(self) -> bool:
        return self.pulse and self.pulse_samples < self.settings["pulse_samples_max"]

    def limits(self, channel: int) -> tuple[int, int, int]:
        """High, low and slew that count for the next sample."""
        s, name = self.settings, NAMES[channel]
        if channel == CURRENT and self.pulse_counts:
            return s["pulse_current_high"], s["pulse_current_low"], s["pulse_current_slew"]
        high = min(s[f"{name}_high"], s[f"soft_{name}_high"])
        low = max(s[f"{name}_low"], s[f"soft_{name}_low"])
        slew = min(s[f"{name}_slew"], s[f"soft_{name}_slew"])
        return high, low, slew

    def last(self, channel: int) -> int:
        return self.seen[channel][-1] if self.seen[channel] else 0

    def before(self, channel: int) -> int:
        return self.seen[channel][-2] if len(self.seen[channel]) > 1 else 0

    def change(self, channel: int) -> int:
        return self.last(channel) - self.before(channel)

    def run(self, channel: int) -> int:
        """Equal samples in a row, the last one included."""
        count = 0
        for code in reversed(self.seen[channel]):
            if code != self.last(channel):
                break
            count += 1
        return count

    def take(self, codes: dict[int, int]) -> None:
        """Samples of one cycle, by converter."""
        for channel, code in codes.items():
            high, low, slew = self.judged_by[channel] = self.limits(channel)
            self.seen[channel] = [*self.seen[channel][-100:], code]  # no test asks for a longer run
            violated = {HIGH[channel]: code > high, LOW[channel]: code < low, SLEW[channel]: abs(self.change(channel)) > slew}
            for cause, is_violated in violated.items():
                self.by_sample.discard(cause)
                if is_violated and cause in self.enabled:
                    self.by_sample.add(cause)
            self.saturated[channel] = code in (CODE_MAX, CODE_MIN) and Cause.SATURATED in self.enabled
        if CURRENT in codes:
            self.contact = abs(codes[CURRENT]) >= self.settings["contact_current"]
            self.pulse_samples += self.pulse_counts

    @property
    def fast_verdict(self) -> set[Cause]:
        """What is made with each sample."""
        return self.by_sample | ({Cause.SATURATED} if any(self.saturated.values()) else set())

    @property
    def longest_run(self) -> int:
        return max(self.run(channel) for channel in self.seen)

    @property
    def energy(self) -> int:
        """Of the oscillation, in the unit of its limit."""
        return int(self.oscillation.energy * 2**20)

    def measured(self, cause: int) -> tuple[int, int]:
        """What was compared and with what; (0, 0) for a cause of another block."""
        channel = MONITOR if cause in (Cause.MONITOR_HIGH, Cause.MONITOR_LOW, Cause.MONITOR_SLEW) else CURRENT
        if channel not in self.seen:
            return 0, 0
        high, low, slew = self.judged_by[channel]
        match cause:
            case Cause.CURRENT_HIGH | Cause.MONITOR_HIGH:
                return self.last(channel), high
            case Cause.CURRENT_LOW | Cause.MONITOR_LOW:
                return self.last(channel), low
            case Cause.CURRENT_SLEW | Cause.MONITOR_SLEW:
                return self.change(channel), slew
            case Cause.SATURATED:
                return self.last(CURRENT if self.saturated[CURRENT] else max(self.seen)), 0
            case Cause.STUCK:
                return self.longest_run, self.settings["stuck_samples"]
            case Cause.OSCILLATION:
                return self.energy, min(self.settings["oscillation_limit"], (1 << 31) - 1)  # what the record's 32 bits hold
        return 0, 0
