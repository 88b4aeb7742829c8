import cocotb
from support import Bank, cycles, get, pack, parameters, seeded, settled, start, unpack

from reflexarc.contract.blocks import gate, interlock
from reflexarc.contract.blocks.interlock import InterlockCommand
from reflexarc_hw.blocks.gate import OUTPUTS
from reflexarc_hw.lib.formats import SAMPLE

CODE_MIN, CODE_MAX = -(1 << 19), (1 << 19) - 1
RETRACT = 60 << 12


async def armed(dut, z: int, **limits: int) -> Bank:
    """Live at ``z`` (Q20.12) with a bias of 100."""
    await start(dut, estop_ok=1, z=z & 0xFFFFFFFF)
    gate_bank = Bank(dut, gate.BLOCK, "gate_bus")
    await gate_bank.configure(bias=100, retract_step=RETRACT)
    bank = Bank(dut, interlock.BLOCK, "interlock_bus")
    await bank.configure(
        **({"current_high": 1000, "current_low": -1000, "pulse_current_high": 3000, "pulse_current_low": -3000, "pulse_samples_max": 100,
            "heartbeat_timeout": (1 << 31) - 1} | limits)
    )  # fmt: skip
    await bank.write("heartbeat", 0)
    await cycles(4)
    await bank.write("command", InterlockCommand.ARM)
    await cycles(4)
    assert get(dut.armed) and not get(dut.blank)
    return bank


def outputs(dut) -> dict[str, int]:
    return unpack(OUTPUTS, get(dut.dac))


@cocotb.test()
async def outputs_are_safe_two_cycles_after_the_sample(dut):
    """Cycle 0 the sample, cycle 1 still live, cycle 2 safe: blanked, withdrawing, x and y held, bias as before the pulse, a DAC frame."""
    rng = seeded("two cycles")
    for pulse in (0, 1):
        for _ in range(10):
            z = rng.randrange(CODE_MIN, CODE_MAX - 1000) << 12
            await armed(dut, z)
            dut.pulse.value = pulse
            dut.pulse_bias.value = 5555
            await cycles(8)
            trace = []
            for cycle in range(6):
                dut.sample.value = pack(SAMPLE, {"valid": cycle == 2, "code": (3001 if pulse else 1001) * rng.choice([1, -1])})
                dut.x.value = cycle + 10 << 12  # moves with each cycle, so that holding shows
                await settled()
                trace.append(outputs(dut) | {"blank": get(dut.blank), "load": get(dut.dac_load)})
                await cycles()
            bias = 5555 if pulse else 100
            safe_from = 2 + parameters()["trip_cycles"]
            assert trace[:safe_from] == [{"x": x, "y": x, "z": z >> 12, "bias": bias, "blank": 0, "load": 0} for x in (0, 0, 10, 11)]
            held = {"x": 11, "y": 11, "z": (z + RETRACT) >> 12, "bias": 100, "blank": 1}
            assert trace[safe_from:] == [held | {"load": int(cycle == safe_from)} for cycle in range(safe_from, 6)]


@cocotb.test()
async def no_z_outside_the_window_is_ever_driven(dut):
    """Random windows, random walks that hit their edges by fractions of an LSB; after the trip z only rises."""
    rng = seeded("window")
    await start(dut, estop_ok=1)
    trips = at_edge = 0
    bank, gate_bank = Bank(dut, interlock.BLOCK, "interlock_bus"), Bank(dut, gate.BLOCK, "gate_bus")
    await bank.configure(heartbeat_timeout=(1 << 31) - 1)
    for _ in range(300):
        low = rng.randrange(CODE_MIN, CODE_MAX - 500)
        high = low + rng.randrange(400)
        z = (low + high) * 2048
        dut.z.value = z & 0xFFFFFFFF
        await bank.configure(z_low=low, z_high=high)
        await cycles(4)
        await bank.write("command", InterlockCommand.ARM)
        await cycles(4)
        assert get(dut.armed)
        last = None
        for _ in range(400):
            # A walk with frequent visits to the last values inside, and rare ones beyond.
            step = rng.randrange(-600, 601) if rng.random() < 0.99 else rng.randrange(-(30 << 12), (30 << 12) + 1)
            inside = [(low << 12) - 2048, (low << 12) - 2047, (high << 12) + 2046, (high << 12) + 2047]
            outside = [(low << 12) - 2049, (high << 12) + 2048]
            z = rng.choice(outside if rng.random() < 0.02 else inside) if rng.random() < 0.1 else z + step
            z = max(CODE_MIN << 12, min(CODE_MAX << 12, z))
            dut.z.value = z & 0xFFFFFFFF
            await settled()
            code = outputs(dut)["z"]
            if not get(dut.blank):
                assert low <= code <= high
                at_edge += code in (low, high)
            elif last is not None:
                assert code >= last, "withdrawal turned back"
            last = code
            await cycles()
        if not get(dut.armed):
            trips += 1
            # Z is back inside for the next round.
            dut.z.value = (z := (low + high) * 2048) & 0xFFFFFFFF
            await cycles(3)
            await bank.write("trip_flags", 0x1FF)
            await bank.write("command", InterlockCommand.ACK)
        else:
            await bank.write("command", InterlockCommand.DISARM)
    cocotb.log.info("%d trips, %d cycles at an edge", trips, at_edge)
    assert trips > 100 and at_edge > 1000
    assert await gate_bank.read("blanked") == 1


@cocotb.test()
async def estop_reaches_the_outputs_in_its_bound(dut):
    for _ in range(3):
        await armed(dut, 0)
        dut.estop_ok.value = 0
        for cycle in range(10):
            await settled()
            assert get(dut.blank) == int(cycle >= parameters()["estop_cycles"])
            await cycles()
