// The detector's engine alone: an image into its memories, windows into its ring, outputs and cycles of each evaluation.
//
// All its outputs come from registers: they are looked at, then inputs are set, then the clock's edge comes. That is one cycle.
#include <cstdint>
#include <memory>

#include "Vengine.h"
#include "engine_layout.h"  // of its ports: LOAD_<field>, RING_<field>, OUTPUT_<field> are the lowest bits; sizes
#include "verilated.h"

#define PORT(name) core___05F##name

double sc_time_stamp() { return 0; }

namespace {
constexpr int kLoadCycles = 8;  // between two words: the tables take them a byte a cycle
constexpr int kRestartCycles = 64;  // until the first step is at hand after a load; more than enough

struct Engine {
    VerilatedContext context;
    std::unique_ptr<Vengine> top;
    uint64_t cycle = 0;

    Engine() {
        context.commandArgs(0, static_cast<const char**>(nullptr));
        top = std::make_unique<Vengine>(&context, "engine");
        top->clk = 0;
        top->eval();
        for (int i = 0; i < kRestartCycles; ++i) tick();
    }
    ~Engine() { top->final(); }

    void tick() {
        top->clk = !top->clk;
        top->eval();
        ++cycle;
    }
};

uint64_t outputs_of(const Engine& engine) { return engine.top->PORT(outputs); }
}  // namespace

extern "C" {

void* engine_new() { return new Engine; }
void engine_free(void* handle) { delete static_cast<Engine*>(handle); }
uint64_t engine_cycle(void* handle) { return static_cast<Engine*>(handle)->cycle; }

// Words of one segment, into a bank.
void engine_load(void* handle, uint32_t bank, uint32_t memory, uint32_t start, const uint32_t* words, uint32_t count) {
    auto& engine = *static_cast<Engine*>(handle);
    for (uint32_t i = 0; i < count; ++i) {
        engine.top->PORT(load) = uint64_t{1} << LOAD_enable | uint64_t{bank} << LOAD_bank | uint64_t{memory} << LOAD_memory |
                                 uint64_t{start + i} << LOAD_address | uint64_t{words[i]} << LOAD_data;
        engine.tick();
        engine.top->PORT(load) = 0;
        for (int wait = 1; wait < kLoadCycles; ++wait) engine.tick();
    }
}

// Which model counts from now on.
void engine_select(void* handle, uint32_t bank, uint32_t layers, uint32_t window_bytes) {
    auto& engine = *static_cast<Engine*>(handle);
    engine.top->PORT(bank) = bank;
    engine.top->PORT(layers) = layers;
    engine.top->PORT(window_bytes) = window_bytes;
    for (int i = 0; i < kRestartCycles; ++i) engine.tick();
}

// ``count`` windows, one after the other. The first ``early`` bytes of each are there when it begins; then ``piece`` bytes come each ``spacing``
// cycles, a byte a cycle, the first one ``delay`` cycles after the begin. ``bases``: where each begins in the ring.
// ``cycles``: from the cycle in which ``arrived`` says that all is there (of a window that is there at once, that of ``begin``) to the last outputs.
// ``began``: the same from ``begin`` on. Answers how many windows had exactly ``each`` outputs; a window that takes ``patience`` cycles ends it.
uint32_t engine_run(void* handle, const uint8_t* windows, uint32_t count, uint32_t window_bytes, const uint32_t* bases, uint32_t early,
                    uint32_t piece, uint32_t spacing, uint32_t delay, int8_t* outputs, uint32_t each, uint32_t* cycles, uint32_t* began, uint64_t patience) {
    auto& engine = *static_cast<Engine*>(handle);
    auto& top = *engine.top;
    for (uint32_t number = 0; number < count; ++number, windows += window_bytes, outputs += each) {
        uint32_t written = 0;
        const auto write = [&] {
            const uint32_t address = (bases[number] + written) % RING_SIZE;
            top.PORT(ring_write) = uint64_t{1} << RING_enable | uint64_t{address} << RING_address | uint64_t{windows[written]} << RING_data;
            ++written;
        };
        while (written < early) {
            write();
            engine.tick();
        }
        top.PORT(ring_write) = 0;
        engine.tick();

        top.PORT(base) = bases[number];
        top.PORT(arrived) = early;
        uint64_t since = 0, complete = 0;
        uint32_t found = 0;
        bool ended = false;
        for (; !ended; ++since) {
            const uint64_t out = outputs_of(engine);
            if (out >> OUTPUT_valid & 1) {
                const uint32_t values = out >> OUTPUT_count & 7;
                for (uint32_t i = 0; i < values; ++i, ++found) {
                    if (found < each) outputs[found] = static_cast<int8_t>(out >> (OUTPUT_values + 8 * i));
                }
                ended = out >> OUTPUT_last & 1;
            }
            // A byte that is written in this cycle has arrived in the next.
            top.PORT(arrived) = written;
            if (written < window_bytes) {
                complete = since + 1;
                const uint64_t piece_number = (written - early) / piece;
                if (since >= delay + piece_number * spacing) write();
                else top.PORT(ring_write) = 0;
            } else {
                top.PORT(ring_write) = 0;
            }
            top.PORT(begin) = since == 0;
            if (since == patience) {
                top.PORT(begin) = 0;
                top.PORT(abort) = 1;
                engine.tick();
                top.PORT(abort) = 0;
                return number;
            }
            engine.tick();
        }
        cycles[number] = static_cast<uint32_t>(since - 1 - complete);
        began[number] = static_cast<uint32_t>(since - 1);
        while (top.PORT(busy)) engine.tick();
        if (found != each) return number;
    }
    return count;
}
}
