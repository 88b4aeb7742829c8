// AD5791: 20-bit DAC with a serial input of 24 bits (datasheet rev. E).
#pragma once
#include <cstdint>

struct Ad5791 {
    static constexpr double kFullScaleV = 10.0;  // +-10 V references
    // Output settling 1 us to 0.02 % (table 2): a time constant of 1 us / ln(5000) = 0.117 us, so this share of a step within a sample of 560 ns.
    static constexpr double kSettledPerSample = 0.99171;

    uint32_t latency_cycles = 0;  // start of a frame to the response of the output: 24 SCLK, SYNC high, t14
    uint64_t due_cycle = 0;
    int32_t shift_code = 0;  // in the shift register
    int32_t code = 0;        // in the DAC register; mid-range at power-up, which is 0 in two's complement
    double output_V = 0.0;
    bool busy = false;

    // Written before the output is enabled.
    void power_up(int32_t safe_code) {
        code = safe_code;
        output_V = code * (kFullScaleV / (1 << 19));
    }

    // A new frame; SYNC rising before the 24th SCLK edge discards one that is under way.
    void load(uint64_t cycle, int32_t new_code) {
        shift_code = new_code;
        due_cycle = cycle + latency_cycles;
        busy = true;
    }

    // To be called in the cycle in which the frame takes effect.
    void advance(uint64_t cycle) {
        if (!busy || cycle != due_cycle) return;
        code = shift_code;
        busy = false;
    }

    double sample() {
        output_V += kSettledPerSample * (code * (kFullScaleV / (1 << 19)) - output_V);
        return output_V;
    }
};
