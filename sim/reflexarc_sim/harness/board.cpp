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
#include "verilated.h"

using PlantStep = void (*)(double* state, const double* parameters, const double* heights_m, const double* dac_V, double* adc_V);

// Verilator writes a double underscore in a name as ___05F.
#define PORT(name) core___05F##name
#define PORT_OF(group, name) core___05F##group##___05F##name

namespace {
constexpr std::size_t kBufferWords = std::size_t{1} << 24;  // of packets that no client took; then the gateware's own buffer fills
constexpr int kBusTimeoutCycles = 1000;

constexpr int kChannels = 4;  // x, y, z, bias, in the order of the core's packed output
constexpr int kZ = 2;
constexpr int kCodeBits = 20;

constexpr int kCodeWords = (kChannels * kCodeBits + 31) / 32;
// z is looked at in every cycle; it lies within one word.
constexpr int kZWord = kZ * kCodeBits / 32;
constexpr int kZShiftUp = 32 - kCodeBits - kZ * kCodeBits % 32;
static_assert(kZShiftUp >= 0);

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
    double* dac_V;
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
    Ad4020 adc;
    Ad5791 dac[kChannels];
    PlantArguments plant{};
    uint64_t cycle = 0;
    uint64_t samples = 0;
    bool adc_dead = false;
    Stream capture, events;
    uint64_t last_convert = 0, last_sample = 0;
    bool was_live = false;
    uint64_t dac_due = ~uint64_t{0};
    TripTimes trip{};
    bool gate_due = false, load_due = false, output_due = false;

    void clock() {
        core->clk = !core->clk;  // either edge is a cycle, see top.py
        core->eval();
        ++cycle;
    }

    int32_t z_code() const { return static_cast<int32_t>(core->PORT(dac)[kZWord] << kZShiftUp) >> (32 - kCodeBits); }

    // Follows a trip from `live` to the converter; `z_before` is the code of the cycle before.
    void watch_trip(int32_t z_before) {
        if (was_live && !core->PORT(live)) {
            trip = TripTimes{last_convert, last_sample, cycle, 0, 0, 0};
            gate_due = load_due = output_due = true;
        }
        was_live = core->PORT(live);
        if (gate_due && !was_live && z_code() > z_before) {
            trip.gate_cycle = cycle;
            gate_due = false;
        }
    }

    void step() {
        const auto now = cycle;
        if (now == dac_due) {
            for (auto& part : dac) part.advance(now);
            if (output_due && !load_due) {
                trip.output_cycle = now;
                output_due = false;
            }
        }
        if (core->PORT(dac_load)) {
            for (int i = 0; i < kChannels; ++i) dac[i].load(now, code_of(core->PORT(dac).data(), i));
            dac_due = now + dac[0].latency_cycles;  // all four run in step
            if (load_due && !core->PORT(live) && !gate_due) {
                trip.load_cycle = now;
                load_due = false;
            }
        }
        if (core->PORT(convert)) {
            for (int i = 0; i < kChannels; ++i) plant.dac_V[i] = dac[i].sample();
            plant.step(plant.state, plant.parameters, plant.heights_m, plant.dac_V, plant.adc_V);
            adc.convert(now, plant.adc_V[0]);
            last_convert = now;
            ++samples;
        }
        const bool valid = adc.valid(now) && !adc_dead;
        core->PORT(adc) = (static_cast<uint32_t>(adc.code) & 0xFFFFF) << 1 | valid;
        if (valid) last_sample = now + 1;  // in the core's own register
        if (core->PORT_OF(capture, valid) && core->PORT_OF(capture, ready)) capture.take(core->PORT_OF(capture, payload));
        if (core->PORT_OF(events, valid) && core->PORT_OF(events, ready)) events.take(core->PORT_OF(events, payload));
        const int32_t z_before = z_code();
        clock();
        core->PORT_OF(capture, ready) = capture.ready();
        core->PORT_OF(events, ready) = events.ready();
        watch_trip(z_before);
    }
};

extern "C" {

Board* board_new(const PlantArguments* plant, uint32_t adc_cycles, uint32_t dac_cycles) {
    auto* board = new Board;
    board->core = std::make_unique<Vtwin>(&board->context, "twin");
    board->plant = *plant;
    board->adc.latency_cycles = adc_cycles;
    for (auto& part : board->dac) part.latency_cycles = dac_cycles;
    auto& core = *board->core;
    core.clk = 0;
    core.PORT(estop_ok) = 1;
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
void board_set_estop(Board* board, uint32_t closed) { board->core->PORT(estop_ok) = closed != 0; }
void board_set_adc_dead(Board* board, uint32_t dead) { board->adc_dead = dead != 0; }

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
