"""Runs programs: one row an instruction, one instruction a cycle where nothing waits."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import REGISTER_MAP, sequencer
from reflexarc.contract.blocks.gate import CODE_MAX, CODE_MIN
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.blocks.sequencer import PROTECTED, SequencerCommand
from reflexarc.contract.program import (
    BANK_ROWS,
    BANKS,
    MEASURED_FRACTION_BITS,
    PLACE_BITS,
    REGISTERS,
    Condition,
    Operand,
    Operation,
    Request,
    StopReason,
)
from reflexarc.contract.registers import BLOCK_SIZE, WORD_BYTES
from reflexarc_hw.blocks.events import EMISSION, SCORED
from reflexarc_hw.blocks.sequencer.access import TimedAccess
from reflexarc_hw.blocks.sequencer.excursion import Excursion
from reflexarc_hw.blocks.sequencer.measure import Measure
from reflexarc_hw.blocks.sequencer.serial import Scaler
from reflexarc_hw.lib.bus import BankSignature, BusSignature, attach_bank
from reflexarc_hw.lib.conditions import held
from reflexarc_hw.lib.formats import CODE, POSITION, SAMPLES
from reflexarc_hw.lib.memory import Ram, RegisterFile

WORD = signed(32)
ROW = data.StructLayout(
    {"value": WORD, "operation": 6, "destination": 4, "a": 5, "b": 5, "place": PLACE_BITS}
)  # as reflexarc.contract.program.Row
ILLEGAL = 63  # an operation that is none
WAITING = (  # operations of more than one cycle
    Operation.SCALE, Operation.WRITE, Operation.READ, Operation.RAMP, Operation.WAIT_CYCLES, Operation.WAIT_SAMPLES, Operation.WAIT_UNTIL,
    Operation.WAIT, Operation.SAMPLE, Operation.EMIT, Operation.MARK,
)  # fmt: skip
ARITHMETIC = (Operation.ADD, Operation.SUBTRACT, Operation.LOOP)
GIVES = (*ARITHMETIC, Operation.SCALE, Operation.READ, Operation.RAMP, Operation.SAMPLE)  # operations with a destination
ROW_BITS = (BANK_ROWS - 1).bit_length()
REGISTER_BITS = (REGISTERS - 1).bit_length()
BLOCK_BITS = (BLOCK_SIZE // WORD_BYTES - 1).bit_length()  # of a place, its word within a block
CLOCK_MAX = (1 << 31) - 1
SETTLED_CYCLES = 8  # after which a command to the scan or to the excursion shows in its state
LEAST_WAIT = 4  # cycles of an operation that waits
RAMP_STEP_BITS = 20


class Waiting(enum.Enum, shape=4):
    """What the instruction that is being executed waits for."""

    NOT = 0
    CYCLES = 1
    TIME = 2
    SAMPLES = 3
    CONDITION = 4
    MEASUREMENT = 5
    PRODUCT = 6
    ACCESS = 7
    RAMP = 8
    STEP = 9
    RAMP_ACCESS = 10
    EMISSION = 11


def code_of(value: Value) -> Value:
    """A 32-bit value as a code, held at the rails."""
    beyond = value[CODE.width - 1 :]
    return Mux((beyond == 0) | beyond.all(), value[: CODE.width], Mux(value[-1], CODE_MIN, CODE_MAX)).as_signed()


class Sequencer(wiring.Component):
    """Rows go through six stages: address, RAM, row, operands, execute, result. An instruction's requests stand two cycles after it executes.

    One that uses the result of the instruction before it executes a cycle later than it would. A jump that is taken costs 6 cycles. What waits
    stands in ``execute``, at least ``LEAST_WAIT`` cycles; the page of this block tells each operation's number.

    Without ``live`` a program ends in that cycle, as it does with ``halted``, STOP or a fault; all it asked for ends with it, but the tip goes
    back to the scan before that goes on. ``fault`` is high for one cycle where the interlock is to trip, with the reason.
    """

    bus: In(BankSignature())
    master: Out(BusSignature())
    claim: Out(1)  # no other master is to begin an access
    live: In(1)
    samples: In(SAMPLES)
    event: In(SCORED)
    lines: In(4)  # external, synchronized, in the order of SyncLine
    scan_state: In(ScanState)
    line_last: In(1)
    scan_line: In(16)
    scan_x: In(POSITION)  # Q20.12, DAC LSB, as are y and z
    scan_y: In(POSITION)
    z: In(POSITION)
    bias: In(CODE)
    x: Out(POSITION)  # the scan's and the excursion's
    y: Out(POSITION)
    overflow: Out(1)
    requests: Out(Request)
    pause: Out(1)
    pulse_bias: Out(CODE)
    emission: Out(EMISSION)
    emits: Out(1)  # until ``emitted``
    emitted: In(1)
    running: Out(1)
    fault: Out(1)
    reason: Out(StopReason)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, sequencer.BLOCK)
        m.submodules.store = store = Ram(ROW.size, BANKS * BANK_ROWS)
        m.submodules.registers = registers = RegisterFile(WORD, REGISTERS, 2)
        m.submodules.scaler = scaler = Scaler()
        m.submodules.measure = measure = Measure()
        m.submodules.excursion = excursion = Excursion()
        # Loading, into the bank that does not run.
        running, bank_runs = Signal(), Signal()
        load = Signal(range(BANKS * BANK_ROWS))
        load_allowed = Signal()
        load_refused = Signal(32)
        m.d.comb += load_allowed.eq(~(running & (load[-1] == bank_runs)))
        with m.If(bank.load_row_strobe):
            m.d.sync += load.eq(bank.load_row)
        with m.Elif(bank.load_control_strobe):
            m.d.sync += load.eq(load + 1)
            with m.If(~load_allowed):
                m.d.sync += load_refused.eq(load_refused + 1)
        m.d.comb += [
            store.write_enable.eq(bank.load_control_strobe & load_allowed),
            store.write_address.eq(load),
            store.write_data.eq(Cat(bank.load_value, bank.load_control)),
        ]

        # The life of a program. ``ends`` empties all stages.
        starting = Signal()  # registers are being cleared
        cleared = Signal(range(REGISTERS))
        ends = Signal()
        why = Signal(StopReason)
        reason = Signal(StopReason)
        started = Signal()
        stopped = Signal()
        m.d.sync += stopped.eq(bank.command_strobe & (bank.command == SequencerCommand.STOP))
        with m.If(bank.command_strobe & (bank.command == SequencerCommand.START) & self.live & ~running):
            m.d.sync += [running.eq(1), starting.eq(1), cleared.eq(0), bank_runs.eq(bank.bank), reason.eq(StopReason.NONE)]
        with m.Elif(ends):
            m.d.sync += [running.eq(0), starting.eq(0), reason.eq(why)]
        with m.Elif(starting):
            m.d.sync += [cleared.eq(cleared + 1), starting.eq(~cleared.all())]
        m.d.comb += started.eq(starting & cleared.all())

        # Stages: the row whose address stands at the RAM, in the RAM, out of it.
        address = Signal(ROW_BITS + 1)  # the top bit: past the last row
        in_ram, out_of_ram = Signal(), Signal()
        ram_index, out_index = Signal.like(address), Signal.like(address)
        operands_valid, execute_valid, result_valid = Signal(), Signal(), Signal()
        redirect = Signal()
        target = Signal(ROW_BITS + 1)
        hazard = Signal()
        waits = Signal()
        advance = Signal()
        fetched = data.View(ROW, store.read_data)
        m.d.comb += [
            advance.eq(~waits & ~hazard),
            store.read_enable.eq(advance),
            store.read_address.eq(Cat(address[:ROW_BITS], bank_runs)),
        ]
        with m.If(ends | redirect | ~running | starting):
            m.d.sync += [in_ram.eq(0), out_of_ram.eq(0)]
        with m.Elif(advance):
            m.d.sync += [in_ram.eq(1), out_of_ram.eq(in_ram)]
        with m.If(started):
            m.d.sync += address.eq(0)
        with m.Elif(redirect):
            m.d.sync += address.eq(target)
        with m.Elif(advance & running & ~starting & ~address[-1]):
            m.d.sync += address.eq(address + 1)
        with m.If(advance):
            m.d.sync += [ram_index.eq(address), out_index.eq(ram_index)]

        # Operands. What is measured elsewhere on the chip has a register here.
        row = Signal(ROW)
        row_index = Signal(ROW_BITS + 1)
        gives = Signal()  # the row there has a destination
        gives_fetched, uses = Signal(), Signal()
        m.d.comb += [
            gives_fetched.eq(Cat(fetched.operation == operation for operation in GIVES).any()),
            uses.eq((fetched.a == row.destination) | (fetched.b == row.destination)),
        ]
        with m.If(ends | redirect):
            m.d.sync += [operands_valid.eq(0), hazard.eq(0)]
        with m.Elif(hazard & ~waits):
            m.d.sync += hazard.eq(0)
        with m.Elif(advance):
            m.d.sync += [
                operands_valid.eq(out_of_ram),
                row.eq(fetched),
                row_index.eq(out_index),
                gives.eq(gives_fetched & out_of_ram),
                hazard.eq(gives & uses & out_of_ram),
            ]
            with m.If(out_index[-1]):
                m.d.sync += row.operation.eq(ILLEGAL)
        last_current, last_monitor = Signal(CODE), Signal(CODE)
        x, y, z, bias, line = Signal(POSITION), Signal(POSITION), Signal(POSITION), Signal(CODE), Signal(16)
        clock = Signal(32)
        event = Signal(SCORED)  # that WAIT took last
        events = Signal(32)
        m.d.sync += [x.eq(excursion.x), y.eq(excursion.y), z.eq(self.z), bias.eq(self.bias), line.eq(self.scan_line)]
        with m.If(self.samples[0].valid):
            m.d.sync += [last_current.eq(self.samples[0].code), last_monitor.eq(self.samples[1].code)]
        measured = {
            Operand.VALUE: row.value, Operand.EVENT_SOURCE: event.source, Operand.EVENT_CLASS: event.class_id,
            Operand.EVENT_SCORE: event.score, Operand.EVENT_X: event.x, Operand.EVENT_Y: event.y, Operand.EVENTS: events,
            Operand.CURRENT: last_current << MEASURED_FRACTION_BITS, Operand.MONITOR: last_monitor << MEASURED_FRACTION_BITS,
            Operand.X: x, Operand.Y: y, Operand.Z: z, Operand.BIAS: bias, Operand.CLOCK: clock, Operand.LINE: line,
        }  # fmt: skip
        result = Signal(WORD)  # of the instruction in the last stage
        result_gives = Signal()
        result_to = Signal(range(REGISTERS))
        a, b = Signal(WORD), Signal(WORD)
        for port, (name, operand) in enumerate((("a", a), ("b", b))):
            choice = row[name]
            own = Signal(WORD, name=f"{name}_register")
            m.d.comb += [
                getattr(registers, f"read_address_{port}").eq(choice[:REGISTER_BITS]),
                own.eq(Mux(result_gives & (result_to == choice), result, getattr(registers, f"read_data_{port}"))),
            ]
            with m.If(advance):
                with m.Switch(choice):
                    for special, value in measured.items():
                        with m.Case(special):
                            m.d.sync += operand.eq(value)
                    with m.Case(Operand.ZERO):
                        m.d.sync += operand.eq(0)
                    with m.Default():
                        m.d.sync += operand.eq(own)
        # Execute: arithmetic and comparison in one cycle; what waits stands here meanwhile.
        operation = Signal(6)
        value, place = Signal(WORD), Signal(PLACE_BITS)
        destination = Signal(REGISTER_BITS)
        index = Signal(ROW_BITS + 1)
        execute_gives = Signal()
        first = Signal()  # first cycle of what waits; it may be emptied yet, so nothing begins before the second
        finishes, times_out, timed_out = Signal(), Signal(), Signal()
        late_result = Signal(WORD)
        with m.If(ends | redirect):
            m.d.sync += [execute_valid.eq(0), waits.eq(0), first.eq(0)]
        with m.Elif(waits):
            m.d.sync += first.eq(0)
            with m.If(finishes):
                m.d.sync += [waits.eq(0), timed_out.eq(times_out)]
        with m.Else():
            m.d.sync += execute_valid.eq(operands_valid & ~hazard)
            with m.If(operands_valid & ~hazard):
                is_waiting = Cat(row.operation == waiting for waiting in WAITING).any()
                m.d.sync += [
                    operation.eq(row.operation),
                    value.eq(row.value),
                    place.eq(row.place),
                    destination.eq(row.destination),
                    index.eq(row_index),
                    execute_gives.eq(gives),
                    waits.eq(is_waiting),
                    first.eq(is_waiting),
                ]

        # Result: written, or a jump, or a request.
        total = Signal(signed(33))
        done_value, done_a, done_b = Signal(WORD), Signal(WORD), Signal(WORD)
        retires, taken = Signal(), Signal()
        less, equal = Signal(), Signal()
        m.d.comb += [
            retires.eq(execute_valid & ~waits & ~redirect & ~ends),
            less.eq(a < b),
            equal.eq(a == b),
            result.eq(held(total)),
        ]
        with m.Switch(operation):
            with m.Case(Operation.JUMP):
                m.d.comb += taken.eq(1)
            with m.Case(Operation.LESS):
                m.d.comb += taken.eq(less)
            with m.Case(Operation.NOT_LESS):
                m.d.comb += taken.eq(~less)
            with m.Case(Operation.EQUAL):
                m.d.comb += taken.eq(equal)
            with m.Case(Operation.NOT_EQUAL):
                m.d.comb += taken.eq(~equal)
            with m.Case(Operation.LOOP):
                m.d.comb += taken.eq(~less & ~equal)
            with m.Case(Operation.WAIT):
                m.d.comb += taken.eq(timed_out)
            with m.Case(Operation.HALT, *range(max(Operation) + 1, 64)):
                m.d.comb += taken.eq(1)
        m.d.sync += [result_valid.eq(retires), redirect.eq(retires & taken), result_gives.eq(retires & execute_gives)]
        with m.If(retires):
            m.d.sync += [
                done_value.eq(value),
                done_a.eq(a),
                done_b.eq(b),
                result_to.eq(destination),
                target.eq(Cat(place[:ROW_BITS], place[ROW_BITS:].any())),
            ]
            with m.Switch(operation):
                with m.Case(Operation.ADD):
                    m.d.sync += total.eq(a + b)
                with m.Case(Operation.SUBTRACT, Operation.LOOP):
                    m.d.sync += total.eq(a - b)
                with m.Default():
                    m.d.sync += total.eq(late_result)
        m.d.comb += [
            registers.write_enable.eq(result_gives | starting),
            registers.write_address.eq(Mux(starting, cleared, result_to)),
            registers.write_data.eq(Mux(starting, 0, result)),
        ]
        instructions = Signal(32)
        with m.If(started):
            m.d.sync += instructions.eq(0)
        with m.Elif(result_valid):
            m.d.sync += instructions.eq(instructions + 1)

        requests = Signal(Request)
        pulse_bias = Signal(CODE)
        halt = Signal(32)
        raises, lowers, pulses, moves, returns, deadlines = (
            Signal(name=name) for name in ("raises", "lowers", "pulses", "moves", "returns", "deadlines")
        )
        halts, illegal, marks = Signal(), Signal(), Signal()
        for flag, one in (
            (raises, Operation.RAISE), (lowers, Operation.LOWER), (pulses, Operation.PULSE), (moves, Operation.MOVE), (returns, Operation.RETURN),
            (deadlines, Operation.DEADLINE), (halts, Operation.HALT),
        ):  # fmt: skip
            m.d.sync += flag.eq(retires & (operation == one))
        m.d.sync += illegal.eq(retires & (operation > max(Operation)))
        patience, spent = Signal(32), Signal()  # cycles until the deadline
        m.d.sync += spent.eq(patience == 0)
        with m.If(patience != 0):
            m.d.sync += patience.eq(patience - 1)
        with m.If(halts):
            m.d.sync += halt.eq(done_value)
        with m.If(raises):
            m.d.sync += requests.eq(requests | (done_value & int(~Request.PULSE)))
        with m.If(lowers):
            m.d.sync += requests.eq(requests & ~done_value)
        with m.If(pulses):
            m.d.sync += [requests.eq(requests | int(Request.PULSE | Request.PULSE_LIMITS)), pulse_bias.eq(code_of(done_b))]
        with m.If(moves):
            m.d.sync += requests.eq(requests | int(Request.SCAN_PAUSED))
        with m.If(deadlines):
            m.d.sync += [patience.eq(Mux(done_b < 0, 0, done_b)), spent.eq(done_b <= 0)]
        with m.If(started):
            m.d.sync += patience.eq(0)
        with m.If(ends):
            m.d.sync += requests.eq(0)

        # The program's clock: 0 in the cycle in which MARK, or the first instruction, executes.
        began = Signal()
        with m.If(started):
            m.d.sync += [clock.eq(0), began.eq(0)]
        with m.Elif(marks):
            m.d.sync += clock.eq(2)
        with m.Elif((execute_valid | began) & running & (clock != CLOCK_MAX)):
            m.d.sync += [clock.eq(clock + 1), began.eq(1)]

        # What waits.
        m.submodules.access = access = TimedAccess()
        wiring.connect(m, access.master, wiring.flipped(self.master))
        left = Signal(signed(33))
        few = Signal()  # ``left`` is below LEAST_WAIT, however far
        settled = Signal(range(SETTLED_CYCLES))
        tick = self.samples[0].valid
        state = Signal(Waiting)
        emitting = Signal()
        late, overdue, refused = Signal(), Signal(), Signal()
        level = Signal(WORD)
        rest = Signal(signed(33))
        forth, back, arrived = Signal(), Signal(), Signal()
        step = value[:RAMP_STEP_BITS]
        period = Signal(32 - RAMP_STEP_BITS)
        due = Signal()  # the ramp's next step
        protected_late = Signal()
        accesses = Signal()
        m.d.comb += accesses.eq((state == Waiting.ACCESS) | (state == Waiting.RAMP_ACCESS))
        protected = Cat(place[BLOCK_BITS:] == REGISTER_MAP[name].base // BLOCK_SIZE for name in PROTECTED).any()
        pending, took = Signal(), Signal()
        waiting_event = Signal(SCORED)
        missed = Signal(32)
        line_seen = Signal()
        met = Signal()
        begin = {one: Signal(name=f"begin_{one.name.lower()}") for one in WAITING}
        keeps = Signal()  # a row that has not been emptied
        m.d.comb += keeps.eq(first & ~redirect & ~ends)
        for one, flag in begin.items():
            m.d.sync += flag.eq(keeps & (operation == one))
        for one in (Operation.WRITE, Operation.RAMP):
            with m.If(protected):
                m.d.sync += begin[one].eq(0)
        m.d.sync += protected_late.eq(keeps & protected & ((operation == Operation.WRITE) | (operation == Operation.RAMP)))
        m.d.comb += [
            marks.eq(begin[Operation.MARK]),
            measure.start.eq(begin[Operation.SAMPLE]),
            scaler.start.eq(begin[Operation.SCALE]),
            access.start.eq(begin[Operation.WRITE] | begin[Operation.READ] | (state == Waiting.STEP)),
            refused.eq(protected_late | (access.done & access.refused & accesses)),
            self.claim.eq(access.claim),
            scaler.a.eq(a),
            scaler.b.eq(b),
            measure.samples.eq(self.samples),
            measure.z.eq(self.z),
            measure.channel.eq(place[2:4]),
            measure.statistic.eq(place[:2]),
            measure.count.eq(Mux(b < 0, 0, Mux(b[24:].any(), (1 << 24) - 1, b[:24]))),
            measure.clear.eq(~running),
            access.place.eq(place),
            access.data.eq(Mux(operation == Operation.RAMP, level, b)),
            access.write.eq(operation != Operation.READ),
        ]
        # Which condition is waited for stands long before it is looked at: decoded into registers, one hot.
        wants, idle = {one: Signal(name=f"wants_{one.name.lower()}") for one in Condition}, Signal()
        wants_event = Signal()
        m.d.sync += [flag.eq(destination == one) for one, flag in wants.items()]
        m.d.sync += [
            wants_event.eq((destination == Condition.EVENT) | (destination == Condition.NEXT_EVENT)),
            idle.eq(self.scan_state == ScanState.IDLE),
        ]
        holds = {
            Condition.EVENT: pending | self.event.valid,
            Condition.NEXT_EVENT: pending | self.event.valid,
            Condition.SCAN_IDLE: idle & settled.all(),
            Condition.LINE_DONE: line_seen,
            Condition.AT_REST: ~excursion.moving & settled.all(),
        }
        for number in range(4):
            holds |= {
                Condition(Condition.CAMERA_READY + number): self.lines[number],
                Condition(Condition.CAMERA_BUSY + number): ~self.lines[number],
            }
        m.d.comb += met.eq(Cat(flag & holds[one] for one, flag in wants.items()).any())
        m.d.sync += [
            rest.eq(b - level),
            forth.eq((step - rest)[-1]),
            back.eq((rest + step)[-1]),
            arrived.eq(level == b),
            line_seen.eq(~first & (line_seen | self.line_last)),
        ]
        with m.If(first):
            m.d.sync += settled.eq(0)
        with m.Elif(~settled.all()):
            m.d.sync += settled.eq(settled + 1)
        with m.Switch(state):
            with m.Case(Waiting.NOT):
                with m.If(begin[Operation.MARK]):
                    m.d.sync += [few.eq(1), state.eq(Waiting.CYCLES)]
                with m.If(begin[Operation.WAIT_CYCLES]):
                    m.d.sync += [left.eq(b - 1), few.eq(b <= LEAST_WAIT), state.eq(Waiting.CYCLES)]
                with m.If(begin[Operation.WAIT_UNTIL]):
                    m.d.sync += [left.eq(b - clock), state.eq(Waiting.TIME)]
                with m.If(begin[Operation.WAIT_SAMPLES]):
                    m.d.sync += [left.eq(b - 1), state.eq(Waiting.SAMPLES)]
                with m.If(begin[Operation.WAIT]):
                    m.d.sync += state.eq(Waiting.CONDITION)
                with m.If(begin[Operation.SAMPLE]):
                    m.d.sync += state.eq(Waiting.MEASUREMENT)
                with m.If(begin[Operation.SCALE]):
                    m.d.sync += state.eq(Waiting.PRODUCT)
                with m.If(begin[Operation.WRITE] | begin[Operation.READ]):
                    m.d.sync += state.eq(Waiting.ACCESS)
                with m.If(begin[Operation.RAMP]):
                    m.d.sync += [level.eq(a), late_result.eq(a), period.eq(value[RAMP_STEP_BITS:]), due.eq(0), state.eq(Waiting.RAMP)]
                with m.If(begin[Operation.EMIT]):
                    m.d.sync += [state.eq(Waiting.EMISSION), emitting.eq(1)]
            with m.Case(Waiting.TIME):
                m.d.comb += finishes.eq(left == LEAST_WAIT - 1)
                m.d.sync += [left.eq(left - 1), few.eq(left <= LEAST_WAIT), state.eq(Waiting.CYCLES)]
            with m.Case(Waiting.CYCLES):
                m.d.sync += [left.eq(left - 1), few.eq(left <= LEAST_WAIT)]
                m.d.comb += finishes.eq(few)
            with m.Case(Waiting.SAMPLES):
                with m.If(left[-1]):
                    m.d.comb += finishes.eq(1)
                with m.Elif(tick):
                    m.d.sync += left.eq(left - 1)
            with m.Case(Waiting.CONDITION):
                m.d.comb += [finishes.eq(met | spent), times_out.eq(~met)]
            with m.Case(Waiting.MEASUREMENT):
                m.d.sync += late_result.eq(measure.result)
                m.d.comb += finishes.eq(measure.done)
            with m.Case(Waiting.PRODUCT):
                m.d.sync += late_result.eq(scaler.product)
                m.d.comb += finishes.eq(scaler.done)
            with m.Case(Waiting.ACCESS):
                m.d.sync += late_result.eq(self.master.read_data)
                m.d.comb += finishes.eq(access.done & ~access.refused)
            with m.Case(Waiting.RAMP):
                # What there is still to go is right three cycles after the level.
                with m.If(arrived & settled[2:].any()):
                    m.d.comb += finishes.eq(1)
                with m.Elif(due & settled[2:].any()):
                    m.d.sync += [due.eq(0), level.eq(Mux(forth, level + step, Mux(back, level - step, b))), state.eq(Waiting.STEP)]
            with m.Case(Waiting.STEP):
                m.d.sync += [late_result.eq(level), state.eq(Waiting.RAMP_ACCESS)]
            with m.Case(Waiting.RAMP_ACCESS):
                with m.If(access.done):
                    m.d.sync += state.eq(Waiting.RAMP)
            with m.Case(Waiting.EMISSION):
                m.d.comb += finishes.eq(~self.emits)
        # ``emitting``: the state is EMISSION. The emission stands far away, so what it waits for is no more than two registers.
        with m.If(emitting & ~self.emits):
            m.d.sync += [
                self.emits.eq(1),
                self.emission.class_id.eq(value[:8]),
                self.emission.part.eq(value[8:24]),
                self.emission.a.eq(a),
                self.emission.b.eq(b),
            ]
        # A ramp's step is due with the last tick of its period; one that finds the step before still under way is late.
        steps = (state == Waiting.STEP) | (state == Waiting.RAMP_ACCESS)
        with m.If((steps | (state == Waiting.RAMP)) & tick):
            m.d.sync += period.eq(period - 1)
            with m.If(period <= 1):
                m.d.comb += overdue.eq(steps | due)
                m.d.sync += [due.eq(1), period.eq(value[RAMP_STEP_BITS:])]
        m.d.comb += late.eq(overdue | ((state == Waiting.TIME) & (left < LEAST_WAIT - 1)))
        with m.If(finishes | ends):
            m.d.sync += [state.eq(Waiting.NOT), emitting.eq(0)]
        emitted = Signal(32)
        with m.If(self.emits & self.emitted):
            m.d.sync += [self.emits.eq(0), emitted.eq(emitted + 1)]

        # Events: one is kept for the next WAIT.
        m.d.comb += took.eq((state == Waiting.CONDITION) & wants_event & (pending | self.event.valid))
        with m.If(started):
            m.d.sync += [pending.eq(0), events.eq(0), missed.eq(0), event.eq(0)]
        with m.Else():
            with m.If(self.event.valid):
                m.d.sync += events.eq(events + 1)
            with m.If(took):
                m.d.sync += [event.eq(Mux(pending, waiting_event, self.event)), pending.eq(pending & self.event.valid)]
            with m.Elif(keeps & (operation == Operation.WAIT) & (destination == Condition.NEXT_EVENT)):
                m.d.sync += pending.eq(0)
            with m.Elif(self.event.valid):
                m.d.sync += pending.eq(1)
            with m.If(self.event.valid & (~pending | took)):
                m.d.sync += waiting_event.eq(self.event)
            with m.Elif(self.event.valid):
                m.d.sync += missed.eq(missed + 1)

        # The end, for whatever reason; the first of them counts. What comes behind HALT is emptied as behind a jump.
        was_late, was_refused = Signal(), Signal()
        m.d.sync += [was_late.eq(late), was_refused.eq(refused), ends.eq(0)]
        with m.If(running & ~ends):
            m.d.sync += ends.eq(~self.live | stopped | was_late | was_refused | illegal | halts)
            with m.If(~self.live):
                m.d.sync += why.eq(StopReason.NOT_LIVE)
            with m.Elif(halts):
                m.d.sync += why.eq(StopReason.HALTED)
            with m.Elif(illegal):
                m.d.sync += why.eq(StopReason.ILLEGAL)
            with m.Elif(was_late):
                m.d.sync += why.eq(StopReason.LATE)
            with m.Elif(was_refused):
                m.d.sync += why.eq(StopReason.REFUSED)
            with m.Else():
                m.d.sync += why.eq(StopReason.STOPPED)
        m.d.sync += self.fault.eq(ends & self.live & ((why == StopReason.LATE) | (why == StopReason.REFUSED) | (why == StopReason.ILLEGAL)))

        m.d.comb += [
            excursion.tick.eq(tick),
            excursion.clear.eq(~self.live),
            excursion.scan_x.eq(self.scan_x),
            excursion.scan_y.eq(self.scan_y),
            excursion.go.eq(moves),
            excursion.home.eq(returns | ends),
            excursion.target_x.eq(done_a),
            excursion.target_y.eq(done_b),
            excursion.step.eq(Mux(done_value < 0, 1, done_value)),
            self.x.eq(excursion.x),
            self.y.eq(excursion.y),
            self.overflow.eq(excursion.overflow),
            self.requests.eq(requests),
            self.pulse_bias.eq(pulse_bias),
            self.running.eq(running),
            self.reason.eq(reason),
        ]
        m.d.sync += self.pause.eq((requests & int(Request.SCAN_PAUSED)).any() | excursion.away)

        # The longest time that a raster waited.
        paused_for, longest = Signal(32), Signal(32)
        in_raster = (self.scan_state != ScanState.IDLE) & (self.scan_state != ScanState.MOVING)
        with m.If(~self.pause):
            m.d.sync += paused_for.eq(0)
        with m.Elif(in_raster):
            m.d.sync += paused_for.eq(paused_for + 1)
        longer = Signal()
        m.d.sync += longer.eq(paused_for > longest)
        with m.If(longer & self.pause):
            m.d.sync += longest.eq(paused_for)

        last_row = Signal(ROW_BITS)
        with m.If(execute_valid):
            m.d.sync += last_row.eq(index)
        m.d.comb += [
            bank.running.eq(running),
            bank.reason.eq(reason),
            bank.halt.eq(halt),
            bank.row.eq(last_row),
            bank.instructions.eq(instructions),
            bank.clock.eq(clock),
            bank.load_refused.eq(load_refused),
            bank.longest_pause.eq(longest),
            bank.emitted.eq(emitted),
            bank.missed.eq(missed),
        ]
        return m
