// AD4020: 20-bit SAR ADC, differential, +-VREF (datasheet rev. B).
#pragma once
#include <cmath>
#include <cstdint>

struct Ad4020 {
    static constexpr double kReferenceV = 5.0;  // full scale is +-VREF (transfer function, table 10)
    static constexpr int32_t kMax = (1 << 19) - 1;
    static constexpr int32_t kMin = -(1 << 19);

    uint32_t latency_cycles = 0;  // CNV rising edge to the whole word: conversion and serial read
    uint64_t due_cycle = ~uint64_t{0};  // cycle in which the word is there
    int32_t code = 0;

    // CNV: the input of this instant is held and converted; beyond full scale the code stays at the rail.
    void convert(uint64_t cycle, double input_V) {
        const double ideal = std::nearbyint(input_V / kReferenceV * (1 << 19));
        code = ideal > kMax ? kMax : ideal < kMin ? kMin : static_cast<int32_t>(ideal);
        due_cycle = cycle + latency_cycles;
    }
};
