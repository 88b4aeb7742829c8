import zlib

import cocotb
from support import cycles, get, parameters, seeded, settled, start, unpack

from reflexarc.contract.words import to_bytes
from reflexarc_hw.lib.packet import WORD

ROOM_LATE = 3  # cycles


@cocotb.test()
async def packets_come_out_whole_with_their_crc(dut):
    """The writer looks at the room as the docstring asks and then writes without a pause or with some."""
    rng = seeded("packets")
    depth = parameters()["depth"]
    await start(dut)
    sent: list[list[int]] = []
    got: list[list[int]] = [[]]
    script: list[tuple[int, int, int]] = []  # write, data, write_crc of the cycles to come
    share, quiet, fullest = 1.0, 0, depth
    while len(sent) < 600 or quiet < 20:
        if not script and len(sent) < 600:
            if rng.random() < 0.05:
                share = rng.choice((0.05, 0.3, 0.8, 1.0))
            words = [rng.getrandbits(32) for _ in range(rng.randrange(1, 12))]
            await settled()
            room = get(dut.room)
            fullest = min(fullest, room)
            if room >= len(words) + 1:
                for word in words:
                    script += [(0, rng.getrandbits(32), 0)] * rng.choice((0, 0, 0, 2)) + [(1, word, 0)]
                script += [(0, rng.getrandbits(32), 0)] * rng.choice((0, 0, 3)) + [(0, rng.getrandbits(32), 1)]
                # Until the room has seen the last word.
                script += [(0, rng.getrandbits(32), 0)] * ROOM_LATE
                sent.append(words)
            await cycles()
            quiet = 0
        write, data, write_crc = script.pop(0) if script else (0, 0, 0)
        dut.write.value, dut.data.value, dut.write_crc.value = write, data, write_crc
        ready = rng.random() < share or len(sent) >= 600
        dut.stream__ready.value = int(ready)
        await settled()
        if get(dut.stream__valid) and ready:
            quiet = 0
            word = unpack(WORD, get(dut.stream__payload))
            got[-1].append(word["data"])
            if word["last"]:
                got.append([])
        else:
            quiet += 1
        await cycles()
        dut.write.value = dut.write_crc.value = dut.stream__ready.value = 0
    assert got.pop() == []
    assert got == [[*words, zlib.crc32(to_bytes(words))] for words in sent]
    assert fullest < 12  # it was full at times
