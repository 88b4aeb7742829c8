// Instruments beside the microscope: a camera, a clock, a line trigger, the column's relay, pulse sources.
#pragma once
#include <cstdint>

constexpr int kCounters = 2;
constexpr int kGateLines = 4;

// Lines from the gateware, in the order of the gate's LINES.
enum : uint32_t { kPixelLine = 1, kLineLine = 2, kFrameLine = 4, kExternalLine = 8 };
// Lines to it, as SyncLine.
enum : uint32_t { kCameraReady = 1, kPixelClock = 2, kLineTrigger = 4, kExternalScan = 8 };

// High for half of each period, from the first cycle on; period 0: low.
struct Square {
    uint32_t period = 0;
    uint32_t phase = 0;

    bool step() {
        if (period == 0) return false;
        if (++phase >= period) phase = 0;
        return phase < period / 2;
    }
};

struct Instruments {
    uint32_t camera_delay_cycles = 20;     // from its trigger to busy
    uint32_t camera_exposure_cycles = 0;   // busy; 0: a camera that does not answer and is always ready
    uint32_t relay_cycles = 1000;          // of the column, to take or to give back its scan inputs
    Square pixel_clock, line_trigger, pulses[kCounters];
    uint64_t frames = 0;  // that the camera took
    uint32_t rises[kGateLines]{};  // of each line from the gateware

    // One cycle: what the gateware's lines are, what its inputs become.
    uint32_t step(uint32_t lines) {
        const bool pixel = lines & kPixelLine;
        if (pixel && !pixel_was_ && camera_exposure_cycles != 0 && busy_ == 0) busy_ = camera_delay_cycles + camera_exposure_cycles;
        pixel_was_ = pixel;
        ready_ = busy_ == 0 || busy_ > camera_exposure_cycles;
        if (busy_ != 0 && --busy_ == 0) ++frames;
        const bool asked = lines & kExternalLine;
        if (asked == external_) relay_ = 0;
        else if (++relay_ >= relay_cycles) external_ = asked;
        return (ready_ ? kCameraReady : 0) | (pixel_clock.step() ? kPixelClock : 0) | (line_trigger.step() ? kLineTrigger : 0) |
               (external_ ? kExternalScan : 0);
    }

    uint32_t count() {
        uint32_t levels = 0;
        for (int i = 0; i < kCounters; ++i) levels |= static_cast<uint32_t>(pulses[i].step()) << i;
        return levels;
    }

    // Nothing that changes by itself: the cheap way round in the loop.
    bool asleep(uint32_t lines) const {
        return busy_ == 0 && ready_ && lines == last_lines_ && (lines & kExternalLine ? external_ : !external_) &&
               pixel_clock.period == 0 && line_trigger.period == 0 && pulses[0].period == 0 && pulses[1].period == 0;
    }
    void seen(uint32_t lines) {
        for (int i = 0; i < kGateLines; ++i) rises[i] += (lines & ~last_lines_) >> i & 1;
        last_lines_ = lines;
    }

private:
    bool pixel_was_ = false, external_ = false, ready_ = true;
    uint32_t busy_ = 0, relay_ = 0, last_lines_ = 0;
};
