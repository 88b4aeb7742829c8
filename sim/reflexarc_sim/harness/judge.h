// An onlooker that knows the limits and sees what the chips and the lines do. It says from when on the gate has to be safe.
//
// It is the naive model of the interlock at the pins: written from the words of the contract, with the harness's own eyes only.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "faults.h"

constexpr uint64_t kNever = ~uint64_t{0};

// Must match twin.py. Codes and cycles; the hard limits that were written.
struct JudgeLimits {
    int32_t high[kConverters], low[kConverters], slew[kConverters];
    uint32_t window_on, slew_on;  // a bit a converter
    uint32_t saturated_on, stuck_on;
    uint32_t stuck_samples;
    uint32_t oscillation_on;
    double oscillation_limit, setpoint;  // log2^2, log2
    uint32_t fast_shift, slow_shift, window_shift;
    uint32_t ready_required, gain_expected, ready_on, gain_on;
    uint64_t heartbeat_timeout;
    uint32_t readback_on;
    uint32_t dose_on;
    double beam_rate, dose_limit;  // electrons a cycle, electrons of a frame
    uint32_t blanker_delay;
    int32_t box_high[3], box_low[3];          // x, y, z codes
    int32_t keep_x[2], keep_y[2], keep_on;  // one rectangle, low and high edge
};

enum Violation : uint32_t {
    kWindow, kSlew, kSaturated, kStuck, kLost, kOscillation, kEstop, kReady, kGain, kReadback, kHeartbeat, kDose, kRegister, kEscaped, kViolations
};

// Cycles from what is seen at the pins to safe codes at the gate. A sample at the pins is "valid" in the core one cycle later, and 2 cycles
// after that the gate is safe, or 3 where the verdict is not of the interlock's short path; what is looked at each fourth cycle adds 4 and
// its registers; a line has a synchroniser of two.
constexpr uint64_t kBound[kViolations] = {3, 3, 4, 10, 4, 24, 5, 5, 5, 6, 5, 9, 0, 0};

struct Verdicts {
    uint64_t since[kViolations];  // first cycle at the pins, kNever if it did not happen
    uint64_t bound[kViolations];
    double oscillation;  // greatest seen
};

struct Judge {
    bool on = false;
    JudgeLimits limits{};
    Verdicts verdicts{};
    uint64_t cycles_per_sample = 16;
    int32_t last[kConverters]{};
    uint32_t run[kConverters]{};
    bool any[kConverters]{};
    double fast = 0, slow = 0, mean = 0;
    uint64_t beat = 0;
    uint64_t open_left = 0;
    double dose = 0;

    void begin(const JudgeLimits& given, uint64_t cycle, uint64_t n) {
        limits = given;
        on = true;
        cycles_per_sample = n;
        if (beat == 0) beat = cycle;  // later the last one counts, also from before
        dose = 0;
        fast = slow = mean = 0;  // the loop is settled when a case begins
        for (int i = 0; i < kViolations; ++i) {
            verdicts.since[i] = kNever;
            verdicts.bound[i] = kBound[i];
        }
        // A flipped register is looked for once a sample, by three registers more.
        verdicts.bound[kRegister] = n + 8;
        verdicts.oscillation = 0;
    }

    void mark(Violation what, uint64_t cycle) {
        if (on && verdicts.since[what] == kNever) verdicts.since[what] = cycle;
    }

    void sample(int converter, int32_t code, uint64_t cycle) {
        const int32_t before = last[converter];
        const bool first = !any[converter];
        last[converter] = code;
        any[converter] = true;
        run[converter] = !first && code == before ? run[converter] + 1 : 1;
        if (converter == 0) oscillate(code, cycle);
        if (!on) return;
        const uint32_t bit = 1u << converter;
        if ((limits.window_on & bit) && (code > limits.high[converter] || code < limits.low[converter])) mark(kWindow, cycle);
        if ((limits.slew_on & bit) && !first && std::abs(code - before) > limits.slew[converter]) mark(kSlew, cycle);
        if (limits.saturated_on && (code == (1 << 19) - 1 || code == -(1 << 19))) mark(kSaturated, cycle);
        if (limits.stuck_on && run[converter] >= limits.stuck_samples) mark(kStuck, cycle);
    }

    // The same filter in floating point, on the logarithm of the word.
    void oscillate(int32_t code, uint64_t cycle) {
        const int32_t magnitude = code < 0 ? ~code : code;
        const double error = (magnitude > 0 ? std::log2(magnitude) : 0.0) - limits.setpoint;
        fast += (error - fast) / (1u << limits.fast_shift);
        slow += (error - slow) / (1u << limits.slow_shift);
        const double band = fast - slow;
        mean += (band * band - mean) / (1u << limits.window_shift);
        if (mean > verdicts.oscillation) verdicts.oscillation = mean;
        // The gateware's logarithm is 12 bits deep and its filters round down: a hundredth decides nothing.
        if (limits.oscillation_on && mean > 1.01 * limits.oscillation_limit) mark(kOscillation, cycle);
    }

    void lines(bool estop_closed, uint32_t ready, uint32_t gain, uint64_t cycle) {
        if (!on) return;
        if (!estop_closed) mark(kEstop, cycle);
        if (limits.ready_on && (limits.ready_required & ~ready)) mark(kReady, cycle);
        if (limits.gain_on && gain != limits.gain_expected) mark(kGain, cycle);
        if (cycle >= beat + limits.heartbeat_timeout) mark(kHeartbeat, cycle);
    }

    // Codes on their way to the converters while outputs live: what lies outside must never get here.
    void outputs(const int32_t* codes, uint64_t cycle) {
        if (!on) return;
        bool out = false;
        for (int i = 0; i < 3; ++i) out = out || codes[i] > limits.box_high[i] || codes[i] < limits.box_low[i];
        if (limits.keep_on) {
            out = out || (codes[0] >= limits.keep_x[0] && codes[0] <= limits.keep_x[1] && codes[1] >= limits.keep_y[0] &&
                          codes[1] <= limits.keep_y[1]);
        }
        if (out) mark(kEscaped, cycle);
    }

    void beam(bool blank, uint64_t cycle) {
        if (!on) return;
        if (!blank) open_left = limits.blanker_delay;
        if (!blank || open_left) {
            dose += limits.beam_rate;
            if (blank) --open_left;
            if (limits.dose_on && dose > limits.dose_limit) mark(kDose, cycle);
        }
    }
};
