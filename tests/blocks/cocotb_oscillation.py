from fractions import Fraction

import cocotb
from naive_oscillation import NaiveOscillation
from support import cycles, get, parameters, seeded, settled, start

ERROR_MIN, ERROR_MAX = -(1 << 17), (1 << 17) - 1


async def take(dut, model: NaiveOscillation, error: int, gap: int) -> None:
    """One error, and ``gap`` cycles until the next: the energy is the old one until its time, then the new one."""
    energy_cycles = parameters()["energy_cycles"]
    before = int(model.energy * 2**20)
    model.take(Fraction(error, 4096))
    after = int(model.energy * 2**20)
    for cycle in range(gap):
        dut.error.value = error & 0x3FFFF if cycle == 0 else 0x15555  # noise unless valid
        dut.error_valid.value = int(cycle == 0)
        await settled()
        expected = before if cycle < energy_cycles else after
        assert get(dut.energy) == expected, f"cycle {cycle} after the error {error}: {get(dut.energy)}, expected {expected}"
        await cycles()


def random_error(rng, last: int) -> int:
    value = rng.choice(
        [
            rng.randrange(ERROR_MIN, ERROR_MAX + 1),
            rng.randrange(-(1 << rng.randrange(1, 18)), 1 << rng.randrange(1, 18)),
            last,
            last,
            last + rng.randrange(-3, 4),
            -last,
            rng.choice([ERROR_MIN, ERROR_MAX, 0]),
        ]
    )
    return min(max(value, ERROR_MIN), ERROR_MAX)


@cocotb.test()
async def random_errors_equal_the_model(dut):
    """All shifts, with errors from the smallest to the rails, at the shortest distance and at longer ones."""
    rng = seeded("oscillation")
    shortest = parameters()["energy_cycles"]
    for _ in range(60):
        shifts = [rng.choice([0, 15, rng.randrange(16), rng.randrange(6)]) for _ in range(3)]
        await start(dut, fast_shift=shifts[0], slow_shift=shifts[1], window=shifts[2])
        model = NaiveOscillation(*shifts)
        error = 0
        for _ in range(120):
            error = random_error(rng, error)
            await take(dut, model, error, rng.choice([shortest, shortest, rng.randrange(shortest, 20)]))


@cocotb.test()
async def the_greatest_band_is_held(dut):
    """From rail to rail at once, against a slow low-pass that stands at the first: the difference is held at what Q6.12 holds."""
    shortest = parameters()["energy_cycles"]
    for rail, other, energy in ((ERROR_MIN, ERROR_MAX, (1 << 30) - (1 << 14)), (ERROR_MAX, ERROR_MIN, 1 << 30)):
        await start(dut, fast_shift=0, slow_shift=3, window=0)
        model = NaiveOscillation(0, 3, 0)
        for error in [rail] * 80 + [other]:
            await take(dut, model, error, shortest)
        await settled()
        assert get(dut.energy) == energy  # 32**2 and a little less
        await cycles()
