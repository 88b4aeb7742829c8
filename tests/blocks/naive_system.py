"""The time base in plain integers."""


class NaiveSystem:
    """Cycle ``t`` since reset: a conversion each ``period``, a frame in cycle 12 of each second period, samples registered."""

    def __init__(self, period: int, channels: int):
        self.period = period
        self.time = 0
        self.samples = 0
        self.lost = [False] * channels  # until a sample of this channel comes
        # Of the converters: what is seen in cycle t came in cycle t - 1. All are registered, those in use are watched.
        self.words: list[list[tuple[bool, int]]] = [[(False, 0), (False, 0)]]

    def cycle(self, words: list[tuple[bool, int]]) -> tuple[dict[str, int], list[tuple[bool, int]]]:
        """The strobes and the samples of this cycle, then on to the next."""
        t, period = self.time, self.period
        seen = self.words[t]
        convert = t % period == 0
        lost_now = []
        for channel in range(len(self.lost)):
            # What was seen since the conversion before, its own cycle included, is its sample.
            brought = any(samples[channel][0] for samples in self.words[max(0, t - period) : t])
            lost_now.append(convert and t > 0 and not brought)
        strobes = {
            "time": t,
            "convert": int(convert),
            "frame": int(t % (2 * period) == period + 12),
            "sample_lost": int(any(lost_now) or any(self.lost)),
            "tick": int(seen[0][0] or lost_now[0]),
        }
        self.lost = [now or (before and not valid) for now, before, (valid, _) in zip(lost_now, self.lost, seen, strict=False)]
        self.samples += seen[0][0]
        self.words.append(words)
        self.time += 1
        return strobes, seen
