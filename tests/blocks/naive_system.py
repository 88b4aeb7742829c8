"""The time base in plain integers."""


class NaiveSystem:
    """Cycle ``t`` since reset: a conversion each ``period``, a frame in cycle 12 of each second period, samples registered."""

    def __init__(self, period: int):
        self.period = period
        self.time = 0
        self.lost = False  # until a sample comes
        self.words: list[tuple[bool, int]] = [(False, 0)]  # of the converter: what is seen in cycle t came in cycle t - 1

    def cycle(self, valid: bool, code: int) -> tuple[dict[str, int], dict[str, int]]:
        """The strobes and the sample of this cycle, then on to the next."""
        t, period = self.time, self.period
        seen_valid, seen_code = self.words[t]
        convert = t % period == 0
        # What was seen since the conversion before, its own cycle included, is its sample.
        brought = any(seen for seen, _ in self.words[max(0, t - period) : t])
        lost_now = convert and t > 0 and not brought
        strobes = {
            "time": t,
            "convert": int(convert),
            "frame": int(t % (2 * period) == period + 12),
            "sample_lost": int(lost_now or self.lost),
            "tick": int(seen_valid or lost_now),
        }
        self.lost = lost_now or (self.lost and not seen_valid)
        self.words.append((valid, code))
        self.time += 1
        return strobes, {"valid": int(seen_valid), "code": seen_code}
