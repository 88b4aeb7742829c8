// The twin's inner loop: compiled gateware, chip models, and the plant once a sample.
//
// All outputs of the core that are used here come from registers, so they are read after a clock edge and inputs are set before the next.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "Vtwin.h"
#include "ad4020.h"
#include "ad5791.h"
#include "faults.h"
#include "instruments.h"
#include "judge.h"
#include "upsets.h"
#include "verilated.h"

using PlantStep = void (*)(double* state, const double* parameters, const double* heights_m, const double* dac_V, double* adc_V);

// Verilator writes a double underscore in a name as ___05F.
#define PORT(name) core___05F##name
#define PORT_OF(group, name) core___05F##group##___05F##name

namespace {
constexpr std::size_t kBufferWords = std::size_t{1} << 24;  // of packets that no client took; then the gateware's own buffer fills
constexpr int kBusTimeoutCycles = 1000;
constexpr int kHeartbeatAccess = 6;  // cycles from a request at the bus to its effect, when no other master is in the way

constexpr int kChannels = 4;  // x, y, z, bias, in the order of the core's packed output
constexpr int kZ = 2;
constexpr int kBias = 3;
constexpr int kCodeBits = 20;

constexpr int kCodeWords = (kChannels * kCodeBits + 31) / 32;
// z is looked at in every cycle; it lies within one word.
constexpr int kZWord = kZ * kCodeBits / 32;
constexpr int kZShiftUp = 32 - kCodeBits - kZ * kCodeBits % 32;
static_assert(kZShiftUp >= 0);
constexpr int kBiasWord = (kBias * kCodeBits + kCodeBits - 1) / 32;
constexpr int kBiasShift = kBiasWord * 32 - kBias * kCodeBits;
static_assert(kBias == kChannels - 1 && kBiasShift > 0);

// Code of one channel in the packed word of four.
int32_t code_of(const uint32_t* words, int channel) {
    const int bit = kCodeBits * channel;
    uint64_t pair = words[bit / 32];
    if (bit / 32 + 1 < kCodeWords) pair |= static_cast<uint64_t>(words[bit / 32 + 1]) << 32;
    const auto code = static_cast<uint32_t>(pair >> (bit % 32));
    return static_cast<int32_t>(code << (32 - kCodeBits)) >> (32 - kCodeBits);
}

struct Stream {
    std::vector<uint32_t> packet;
    std::deque<std::vector<uint32_t>> packets;
    std::size_t words = 0;

    bool ready() const { return words < kBufferWords; }
    // A word and, in bit 32, whether it is the last of its packet.
    void take(uint64_t payload) {
        const bool last = payload >> 32;
        packet.push_back(static_cast<uint32_t>(payload));
        ++words;
        if (last) {
            packets.push_back(std::move(packet));
            packet.clear();
        }
    }
};
}  // namespace

extern "C" {

struct PlantArguments {
    PlantStep step;
    double* state;
    const double* parameters;
    const double* heights_m;
    double* dac_V;  // x, y, z, bias in volts, then the coarse motor's net steps away from the specimen
    double* adc_V;
};

// Cycles of the last fall of `live`, for statements about time; 0 before any.
struct TripTimes {
    uint64_t convert_cycle;  // CNV of the last sample before it
    uint64_t sample_cycle;   // that sample valid
    uint64_t live_cycle;     // live low
    uint64_t gate_cycle;     // first cycle of a z code that moves away
    uint64_t load_cycle;     // frame with it begins
    uint64_t output_cycle;   // converter's output responds
};

struct BusAccess {
    uint32_t write;
    uint32_t address;
    uint32_t data;
    uint32_t status;
};
}

struct Board {
    VerilatedContext context;
    std::unique_ptr<Vtwin> core;
    Ad4020 adc[kConverters];
    AdcFault adc_fault[kConverters];
    int32_t adc_word[kConverters]{};
    bool dac_stuck[kChannels]{};
    double monitor_V = 1.0;  // what the second converter sees: a steady source with a little noise
    Noise noise;
    Judge judge;
    int32_t sent[kChannels]{};  // codes of the last frame
    int32_t motor_steps = 0, approach_steps = 0;  // away from the specimen, towards it
    bool motor_was = false, approach_was = false;
    Instruments instruments;
    Ad5791 dac[kChannels];
    PlantArguments plant{};
    uint64_t cycle = 0;
    uint64_t samples = 0;
    Stream capture, events;
    uint64_t last_convert = 0, last_sample = 0;
    bool was_live = false;
    uint64_t update_cycles = 0;  // longest way from a sample to a new z while live
    uint32_t bias_was = 0;
    uint64_t bias_cycle = 0;  // of the last change of the bias at the gate
    uint64_t dac_due = ~uint64_t{0};
    TripTimes trip{};
    bool gate_due = false, load_due = false, output_due = false;
    bool words_due = false, words_valid = false, readback_valid = false;
    uint32_t heartbeat_address = 0;
    uint64_t safe_cycle = 0;  // of the last fall of live

    void clock() {
        core->clk = !core->clk;  // either edge is a cycle, see top.py
        core->eval();
        ++cycle;
    }

    // The bias is the last of the codes and lies across two words.
    uint32_t bias_bits() const { return core->PORT(dac)[kBiasWord] << kBiasShift | core->PORT(dac)[kBiasWord - 1] >> (32 - kBiasShift); }
    int32_t z_code() const { return static_cast<int32_t>(core->PORT(dac)[kZWord] << kZShiftUp) >> (32 - kCodeBits); }

    // Follows a trip from `live` to the converter; `z_before` is the code of the cycle before.
    void watch_trip(int32_t z_before) {
        if (was_live && !core->PORT(live)) {
            trip = TripTimes{last_convert, last_sample, cycle, 0, 0, 0};
            safe_cycle = cycle;
            gate_due = load_due = output_due = true;
        }
        was_live = core->PORT(live);
        if (core->PORT(motor_step) && !motor_was) ++motor_steps;
        motor_was = core->PORT(motor_step);
        if (core->PORT(approach_step) && !approach_was) ++approach_steps;
        approach_was = core->PORT(approach_step);
        if (gate_due && !was_live && z_code() > z_before) {
            trip.gate_cycle = cycle;
            gate_due = false;
        }
    }

    // Both converters finish together; a dead or frozen one does what it does.
    void convert_words(uint64_t now) {
        uint64_t word = 0;
        bool all = true;
        for (int i = 0; i < kConverters; ++i) {
            const auto& fault = adc_fault[i];
            if (fault.dead) {
                all = false;
                continue;
            }
            if (!fault.frozen) adc_word[i] = fault.apply(adc[i].code, fault.noise_mask ? noise.next() : 0);
            word |= (static_cast<uint64_t>(adc_word[i] & 0xFFFFF) << 1 | 1) << (21 * i);
            judge.sample(i, adc_word[i], now);
        }
        core->PORT(adc) = word;
        words_valid = true;
        words_due = !all;
        if (all) last_sample = now + 1;  // in the core's own register
    }

    // After a frame: what the converters hold. Bit 0 is valid, then 20 bits each.
    void read_back(uint64_t now) {
        uint32_t words[3] = {1, 0, 0};
        for (int i = 0; i < kChannels; ++i) {
            const int bit = 1 + kCodeBits * i;
            const uint64_t code = static_cast<uint64_t>(dac[i].code & 0xFFFFF) << (bit % 32);
            words[bit / 32] |= static_cast<uint32_t>(code);
            if (bit / 32 + 1 < 3) words[bit / 32 + 1] |= static_cast<uint32_t>(code >> 32);
            if (judge.limits.readback_on && dac[i].code != sent[i]) judge.mark(kReadback, now);
        }
        for (int i = 0; i < 3; ++i) core->PORT(readback)[i] = words[i];
        readback_valid = true;
    }

    void step() {
        const auto now = cycle;
        if (now == dac_due) {
            for (int i = 0; i < kChannels; ++i) {
                if (!dac_stuck[i]) dac[i].advance(now);
            }
            read_back(now);
            if (output_due && !load_due) {
                trip.output_cycle = now;
                output_due = false;
            }
        }
        if (core->PORT(dac_load)) {
            for (int i = 0; i < kChannels; ++i) {
                sent[i] = code_of(core->PORT(dac).data(), i);
                dac[i].load(now, sent[i]);
            }
            if (was_live) judge.outputs(sent, now);
            dac_due = now + dac[0].latency_cycles;  // all four run in step
            if (load_due && !core->PORT(live) && !gate_due) {
                trip.load_cycle = now;
                load_due = false;
            }
        }
        if (core->PORT(convert)) {
            for (int i = 0; i < kChannels; ++i) plant.dac_V[i] = dac[i].sample();
            plant.dac_V[kChannels] = motor_steps - approach_steps;
            plant.step(plant.state, plant.parameters, plant.heights_m, plant.dac_V, plant.adc_V);
            adc[0].convert(now, plant.adc_V[0]);
            adc[1].convert(now, monitor_V + 1e-4 * (noise.next() >> 28));
            if (judge.on && words_due) judge.mark(kLost, now);
            words_due = true;
            last_convert = now;
            ++samples;
        }
        if (now == adc[0].due_cycle) convert_words(now);
        else if (words_valid) {
            core->PORT(adc) = 0;
            words_valid = false;
        }
        if (judge.on) {
            judge.lines(core->PORT(estop), core->PORT(ready), core->PORT(gain), now);
            judge.beam(core->PORT(blank), now);
        }
        if (core->PORT_OF(capture, valid) && core->PORT_OF(capture, ready)) capture.take(core->PORT_OF(capture, payload));
        if (core->PORT_OF(events, valid) && core->PORT_OF(events, ready)) events.take(core->PORT_OF(events, payload));
        const uint32_t lines = core->PORT(lines);
        if (!instruments.asleep(lines)) {
            core->PORT(sync) = instruments.step(lines);
            core->PORT(pulses) = instruments.count();
            instruments.seen(lines);
        }
        const int32_t z_before = z_code();
        clock();
        if (readback_valid) {
            core->PORT(readback)[0] = 0;
            readback_valid = false;
        }
        core->PORT_OF(capture, ready) = capture.ready();
        core->PORT_OF(events, ready) = events.ready();
        if (was_live && z_code() != z_before && core->PORT(live)) {
            const uint64_t since = cycle - last_sample;
            if (since > update_cycles) update_cycles = since;
        }
        if (const uint32_t bias = bias_bits(); bias != bias_was) {
            bias_was = bias;
            bias_cycle = cycle;
        }
        watch_trip(z_before);
    }
};

extern "C" {

Board* board_new(const PlantArguments* plant, uint32_t adc_cycles, uint32_t dac_cycles) {
    auto* board = new Board;
    board->core = std::make_unique<Vtwin>(&board->context, "twin");
    board->plant = *plant;
    for (auto& part : board->adc) part.latency_cycles = adc_cycles;
    for (auto& part : board->dac) part.latency_cycles = dac_cycles;
    auto& core = *board->core;
    core.clk = 0;
    core.PORT(estop) = 1;
    core.PORT(ready) = 3;
    core.PORT(gain) = 0;
    core.PORT(sync) = kCameraReady;
    core.PORT(pulses) = 0;
    core.PORT(underflow) = 0;
    core.PORT(event) = 0;
    core.PORT(adc) = 0;
    core.PORT_OF(host_bus, valid) = 0;
    core.PORT_OF(cpu_bus, valid) = 0;
    core.PORT_OF(capture, ready) = 1;
    core.PORT_OF(events, ready) = 1;
    core.eval();
    // AD5791: the safe codes are written before the outputs are let go (OPGND, DACTRI), so they are what the plant sees first.
    for (int i = 0; i < kChannels; ++i) board->dac[i].power_up(code_of(core.PORT(dac).data(), i));
    return board;
}

void board_free(Board* board) {
    board->core->final();
    delete board;
}

void board_run(Board* board, uint64_t cycles) {
    for (uint64_t i = 0; i < cycles; ++i) board->step();
}

// Accesses in order, each as many cycles as the bus takes. Returns how many were done; fewer than asked means that the bus hangs.
uint32_t board_bus(Board* board, BusAccess* accesses, uint32_t count) {
    auto& core = *board->core;
    for (uint32_t i = 0; i < count; ++i) {
        auto& access = accesses[i];
        core.PORT_OF(host_bus, valid) = 1;
        core.PORT_OF(host_bus, write) = access.write;
        core.PORT_OF(host_bus, address) = access.address;
        core.PORT_OF(host_bus, write_data) = access.data;
        if (access.write && access.address == board->heartbeat_address) board->judge.beat = board->cycle + kHeartbeatAccess;
        int waited = 0;
        do {
            board->step();
        } while (!core.PORT_OF(host_bus, done) && ++waited < kBusTimeoutCycles);
        if (waited == kBusTimeoutCycles) return i;
        access.data = core.PORT_OF(host_bus, read_data);
        access.status = core.PORT_OF(host_bus, status);
        core.PORT_OF(host_bus, valid) = 0;
        board->step();
    }
    return count;
}

uint64_t board_cycle(const Board* board) { return board->cycle; }
uint64_t board_samples(const Board* board) { return board->samples; }
void board_trip_times(const Board* board, TripTimes* times) { *times = board->trip; }
void board_set_estop(Board* board, uint32_t closed) { board->core->PORT(estop) = closed != 0; }
void board_set_lines(Board* board, uint32_t ready, uint32_t gain) {
    board->core->PORT(ready) = ready;
    board->core->PORT(gain) = gain;
}
// Sources that are yet to come: a starved list, a detector's event of one class (for one cycle; negative: none).
void board_set_underflow(Board* board, uint32_t underflow) { board->core->PORT(underflow) = underflow != 0; }
void board_event(Board* board, uint32_t class_id) {
    board->core->PORT(event) = class_id << 1 | 1;
    board->step();
    board->core->PORT(event) = 0;
}
void board_set_monitor(Board* board, double volts) { board->monitor_V = volts; }
void board_set_adc_fault(Board* board, uint32_t converter, uint32_t dead, uint32_t frozen, uint32_t and_mask, uint32_t or_mask,
                         uint32_t noise_mask) {
    board->adc_fault[converter] = AdcFault{dead != 0, frozen != 0, and_mask, or_mask, noise_mask};
}
void board_set_dac_stuck(Board* board, uint32_t channel, uint32_t stuck) { board->dac_stuck[channel] = stuck != 0; }

// A single-event upset: one bit of a configuration register flips. 0 where there is no such register.
uint32_t board_flip(Board* board, const char* name, uint32_t bit) {
    for (const auto& upset : upsets(*board->core)) {
        if (std::strcmp(upset.name, name) == 0 && bit < upset.width) {
            upset.flip(bit);
            board->judge.mark(kRegister, board->cycle);
            return 1;
        }
    }
    return 0;
}

void board_judge(Board* board, const JudgeLimits* limits, uint32_t cycles_per_sample, uint32_t heartbeat_address) {
    board->heartbeat_address = heartbeat_address;
    board->judge.begin(*limits, board->cycle, cycles_per_sample);
}
void board_verdicts(const Board* board, Verdicts* verdicts) { *verdicts = board->judge.verdicts; }
uint64_t board_safe_cycle(const Board* board) { return board->safe_cycle; }
uint32_t board_live(const Board* board) { return board->core->PORT(live); }
uint32_t board_blanked(const Board* board) { return board->core->PORT(blank); }
int32_t board_motor_steps(const Board* board) { return board->motor_steps; }
int32_t board_approach_steps(const Board* board) { return board->approach_steps; }
uint64_t board_update_cycles(const Board* board) { return board->update_cycles; }
uint64_t board_bias_cycle(const Board* board) { return board->bias_cycle; }
uint64_t board_camera_frames(const Board* board) { return board->instruments.frames; }
// Lines to other instruments, a bit each in the order of the gate's LINES; and how often one of them has risen.
uint32_t board_gate_lines(const Board* board) { return board->core->PORT(lines); }
uint32_t board_gate_line_rises(const Board* board, uint32_t line) { return board->instruments.rises[line]; }
// Cycles; 0: none. The camera's delay and exposure, periods of pixel clock, line trigger and the two pulse sources.
void board_set_instruments(Board* board, uint32_t delay, uint32_t exposure, uint32_t clock, uint32_t trigger, uint32_t pulses_0, uint32_t pulses_1) {
    auto& instruments = board->instruments;
    instruments.camera_delay_cycles = delay;
    instruments.camera_exposure_cycles = exposure;
    instruments.pixel_clock.period = clock;
    instruments.line_trigger.period = trigger;
    instruments.pulses[0].period = pulses_0;
    instruments.pulses[1].period = pulses_1;
    board->core->PORT(sync) = instruments.step(board->core->PORT(lines));
    board->core->PORT(pulses) = 0;
}
// Code that a DAC holds.
int32_t board_dac_code(const Board* board, uint32_t channel) { return board->dac[channel].code; }

// stream 0: capture, 1: events. Words of the oldest whole packet, 0 if there is none.
uint32_t board_packet_words(const Board* board, uint32_t stream) {
    const auto& packets = (stream ? board->events : board->capture).packets;
    return packets.empty() ? 0 : static_cast<uint32_t>(packets.front().size());
}

// Copies the oldest packet out and drops it; `words` has room for it.
void board_take_packet(Board* board, uint32_t stream, uint32_t* words) {
    auto& source = stream ? board->events : board->capture;
    const auto& packet = source.packets.front();
    std::memcpy(words, packet.data(), packet.size() * sizeof(uint32_t));
    source.words -= packet.size();
    source.packets.pop_front();
}
}
