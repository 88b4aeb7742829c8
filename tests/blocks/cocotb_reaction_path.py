import cocotb
from support import Bank, cycles, get, pack, parameters, seeded, settled, start, unpack

from reflexarc.contract.blocks import gate, reaction
from reflexarc_hw.blocks.events import DETECTION
from reflexarc_hw.lib.formats import OUTPUTS


@cocotb.test()
async def the_latency_register_is_what_passes_until_the_bias_is_out(dut):
    """Measured at the outputs beside it, for pulses at random distances; the bias comes back when the pulse ends."""
    rng = seeded("latency")
    await start(dut, live=1)
    bank = Bank(dut, reaction.BLOCK, "reaction_bus")
    base = Bank(dut, gate.BLOCK, "gate_bus")
    await bank.configure(enable=1, pulse_samples=2, settle_samples=2, budget=1000)
    for _ in range(30):
        idle_bias, pulse_bias = rng.sample(range(-(1 << 19), 1 << 19), 2)
        await base.write("bias", idle_bias)
        await bank.write("bias", pulse_bias)
        await cycles(rng.randrange(4, 20))
        seen = None
        for cycle in range(12):
            dut.detection.value = pack(DETECTION, {"valid": cycle == 0})
            await settled()
            driven = unpack(OUTPUTS, get(dut.dac))["bias"]
            assert driven in (idle_bias, pulse_bias)
            if driven == pulse_bias and seen is None:
                seen = cycle
            await cycles()
        assert seen == parameters()["bias_cycles"]
        assert await bank.read("latency") == seen
        # Two ticks end the pulse, two more the rest.
        for count in range(4):
            assert unpack(OUTPUTS, get(dut.dac))["bias"] == (pulse_bias if count < 2 else idle_bias)
            assert get(dut.hold)
            dut.tick.value = 1
            await cycles()
            dut.tick.value = 0
            await cycles(15)
        assert not get(dut.hold)
        assert await bank.read("latency") == seen, "stays until the next pulse"


@cocotb.test()
async def losing_live_in_a_pulse_drives_the_bias_from_before_it(dut):
    await start(dut, live=1)
    bank = Bank(dut, reaction.BLOCK, "reaction_bus")
    await Bank(dut, gate.BLOCK, "gate_bus").write("bias", 50)
    await bank.configure(enable=1, pulse_samples=2, settle_samples=2, budget=1000, bias=60)
    await cycles(4)
    dut.detection.value = pack(DETECTION, {"valid": 1})
    await cycles()
    dut.detection.value = 0
    await cycles(8)
    assert unpack(OUTPUTS, get(dut.dac))["bias"] == 60
    dut.live.value = 0
    await cycles()
    for _ in range(40):
        await settled()
        assert unpack(OUTPUTS, get(dut.dac))["bias"] == 50
        await cycles()
