// What can be made to go wrong with the converters and the wiring of the twin.
#pragma once
#include <cstdint>

constexpr int kConverters = 2;  // current, monitor

// Of one ADC. The word that the core gets is ((code & and_mask) | or_mask) ^ (noise & noise_mask).
struct AdcFault {
    bool dead = false;    // no word comes
    bool frozen = false;  // the last word comes again and again
    uint32_t and_mask = ~0u, or_mask = 0, noise_mask = 0;

    int32_t apply(int32_t code, uint32_t noise) const {
        const uint32_t word = ((static_cast<uint32_t>(code) & and_mask) | or_mask) ^ (noise & noise_mask);
        return static_cast<int32_t>(word << 12) >> 12;
    }
};

// Noise without a library: the same numbers everywhere. (xorshift32, Marsaglia 2003, "Xorshift RNGs", section 4)
struct Noise {
    uint32_t state = 0x9E3779B9;
    uint32_t next() {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        return state;
    }
};
