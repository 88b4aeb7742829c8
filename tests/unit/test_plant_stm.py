"""The STM plant against closed formulas and against a naive model, through the compiled function that the board process calls."""

import hashlib
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc_sim.plants.noise import standard_normal
from reflexarc_sim.plants.stm import Parameter, State, StmParameters, StmPlant
from reflexarc_sim.plants.stm_layout import DAC_ENTRIES, PARAMETER_SIZE, STATE_SIZE
from reflexarc_sim.plants.stm_parameters import resonance_over_one_sample
from reflexarc_sim.specimens import Specimen, load

PERIOD_S = 560e-9
STILL = {"drift_x_m_per_s": 0.0, "drift_y_m_per_s": 0.0, "drift_z_m_per_s": 0.0}
QUIET = {**STILL, "noise": False}
WHITE = {"noise": True, "current_flicker_per_sqrtHz": 0.0, "preamp_flicker_A_per_sqrtHz": 0.0, "z_flicker_m_per_sqrtHz": 0.0}
E_C, K_J_PER_K, H_JS, M_KG = 1.602176634e-19, 1.380649e-23, 6.62607015e-34, 9.1093837e-31
FLAT = Specimen(np.zeros((8, 8)), 1e-6, 1e-6, "flat")


def close(value, rel=1e-9):
    """Relative only: by itself `pytest.approx` also accepts all within 1e-12, which is a lot for metres and amperes."""
    return pytest.approx(value, rel=rel, abs=0.0)


def flat(seed: int = 0, **parameters) -> StmPlant:
    return StmPlant(FLAT, StmParameters(**{**QUIET, **parameters}), seed, PERIOD_S)


def hold(plant: StmPlant, samples: int, x_V=0.0, y_V=0.0, z_V=0.0, bias_V=0.0) -> np.ndarray:
    return plant.run(np.tile([x_V, y_V, z_V, bias_V], (samples, 1)))


def rest_at(plant: StmPlant, z_m: float, bias_V: float) -> np.ndarray:
    """Put the tip to rest there and wait until the preamplifier has settled."""
    z_V = z_m / plant.parameters.z_m_per_V
    plant.state[[State.TIP_Z, State.TIP_Z_VELOCITY, State.HELD_Z_V]] = z_m, 0.0, z_V
    return hold(plant, 400, z_V=z_V, bias_V=bias_V)


# The junction


@pytest.mark.parametrize("gap_m", [0.2e-9, 0.4e-9, 0.7e-9])
@pytest.mark.parametrize("bias_V", [0.05, -0.5])
def test_current_follows_the_closed_formula(gap_m, bias_V):
    plant = flat(preamp_gain_V_per_A=1e6)
    volts = rest_at(plant, gap_m, bias_V)[-1]
    kappa = math.sqrt(2 * M_KG * 4.5 * E_C) / (H_JS / (2 * math.pi))
    expected = bias_V * 2 * E_C**2 / H_JS * math.exp(-2 * kappa * gap_m)
    assert plant.gap_m == pytest.approx(gap_m, abs=1e-15)
    assert plant.current_A == close(expected, rel=1e-5)
    assert volts == close(expected * 1e6, rel=1e-5)
    assert plant.parameters.current_A(bias_V, gap_m) == close(expected, rel=1e-6)
    assert plant.parameters.gap_m(bias_V, expected) == close(gap_m, rel=1e-6)


def test_an_angstrom_costs_a_factor_of_nine():
    plant = flat()
    rest_at(plant, 0.5e-9, 0.1)
    near = plant.current_A
    rest_at(plant, 0.6e-9, 0.1)
    assert near / plant.current_A == close(math.exp(0.2 * 10.868), rel=1e-3)  # kappa = 10.868 / nm at 4.5 eV
    assert 8.5 < near / plant.current_A < 9.0


def test_no_gap_gives_an_impossible_current():
    parameters = StmParameters()
    for bias_V, current_A in ((0.1, -1e-9), (0.1, 1e-3), (0.0, 1e-9), (0.1, 0.0)):
        with pytest.raises(ValueError, match="flows at no gap"):
            parameters.gap_m(bias_V, current_A)


# Contact


def test_contact_is_counted_once_with_its_depth():
    plant = flat(preamp_rail_V=5.0)
    assert (plant.contacts, plant.contact_depth_m) == (0, 0.0)
    volts = rest_at(plant, -0.3e-9, 0.1)
    assert plant.contacts == 1
    assert plant.contact_depth_m == pytest.approx(0.3e-9, abs=1e-15)
    assert plant.current_A == close(0.1 * 77.48e-6, rel=1e-4)
    assert volts[-1] == 5.0
    rest_at(plant, 5e-12, 0.1)  # off the surface, but by less than the release distance
    rest_at(plant, -0.1e-9, 0.1)
    assert plant.contacts == 1
    rest_at(plant, 20e-12, 0.1)
    rest_at(plant, -0.1e-9, 0.1)
    assert plant.contacts == 2
    assert plant.contact_depth_m == pytest.approx(0.3e-9, abs=1e-15)
    plant.forget_contacts()
    assert (plant.contacts, plant.contact_depth_m) == (0, 0.0)
    rest_at(plant, -0.1e-9, 0.1)  # it still lasts
    assert plant.contacts == 0


def test_begins_withdrawn_and_at_rest():
    plant = flat()
    hold(plant, 1000, z_V=10.0)
    assert plant.tip_z_m == pytest.approx(100e-9, abs=1e-18) and plant.gap_m == close(100e-9)
    assert plant.contacts == 0 and plant.adc_V[0] == 0.0
    assert plant.time_s == close(1000 * PERIOD_S, rel=1e-12)


# The scanner


@pytest.mark.parametrize(("frequency_Hz", "quality"), [(60e3, 8.0), (30e3, 3.0), (120e3, 20.0)])
def test_ring_down_has_the_frequency_and_the_quality(frequency_Hz, quality):
    plant = flat(z_resonance_Hz=frequency_Hz, z_quality=quality)
    z_m = np.array([(plant.step([0, 0, 9.0, 0]), plant.tip_z_m - 90e-9)[1] for _ in range(400)])
    crossings = np.flatnonzero(np.diff(np.signbit(z_m)))
    times = crossings + z_m[crossings] / (z_m[crossings] - z_m[crossings + 1])
    last = min(times.size - 1, 8)
    measured_Hz = last / 2 / ((times[last] - times[0]) * PERIOD_S)
    # Damping lowers the frequency of ringing by sqrt(1 - 1/4Q^2); each of its periods multiplies the amplitude by exp(-pi / (Q lower)).
    lower = math.sqrt(1 - 1 / (4 * quality**2))
    assert measured_Hz == close(frequency_Hz * lower, rel=2e-3)
    per_period = round(1 / (frequency_Hz * lower * PERIOD_S))
    peaks = [np.abs(z_m[k * per_period : (k + 1) * per_period]).max() for k in range(4)]
    measured_quality = math.pi / (math.log(peaks[1] / peaks[3]) / 2) / lower
    assert measured_quality == close(quality, rel=0.1)


@given(st.floats(30e3, 400e3), st.floats(0.6, 100), st.floats(10e-9, 600e-9))
def test_resonance_is_the_matrix_exponential(frequency_Hz, quality, period_s):
    w = 2 * math.pi * frequency_Hz
    # In units of 1/w both states are of one size. The series is short, so halve the time until it converges and square again.
    generator = np.array([[0.0, 1.0], [-1.0, -1.0 / quality]]) * (w * period_s / 2**12)
    expected = np.linalg.matrix_power(np.eye(2) + generator + generator @ generator / 2 + generator @ generator @ generator / 6, 2**12)
    found = resonance_over_one_sample(frequency_Hz, quality, period_s) * np.array([[1, w], [1 / w, 1]])
    assert np.abs(found - expected).max() < 1e-8


def test_lateral_lag_and_scale():
    plant = flat(xy_bandwidth_Hz=5e3)
    samples = int(1 / (2 * math.pi * 5e3) / PERIOD_S)
    hold(plant, samples + 1, x_V=10.0, y_V=-4.0, z_V=10.0)
    share = 1 - math.exp(-2 * math.pi * 5e3 * samples * PERIOD_S)
    assert plant.tip_x_m == close(500e-9 * share, rel=1e-9)
    assert plant.tip_y_m == close(-200e-9 * share, rel=1e-9)


# The surface


def test_surface_is_the_specimen_under_the_tip():
    specimen = load("au111", seed=2)
    plant = StmPlant(specimen, StmParameters(**QUIET, mean_height_m=7e-9), 0, PERIOD_S)
    for x_V, y_V in ((0.1, -0.3), (-0.45, 0.2), (0.6, 0.6)):
        hold(plant, 2000, x_V, y_V, 10.0)
        assert plant.surface_m == pytest.approx(7e-9 + float(specimen.height_at(plant.tip_x_m, plant.tip_y_m)), abs=1e-16)


def test_drift_carries_the_specimen():
    specimen = load("au111")
    drifts = {"drift_x_m_per_s": 1e-9, "drift_y_m_per_s": -0.5e-9, "drift_z_m_per_s": 0.2e-9}
    plant = StmPlant(specimen, StmParameters(noise=False, **drifts), 0, PERIOD_S)
    plant.state[State.SAMPLES] = round(4.0 / PERIOD_S)  # four seconds later
    plant.step([0, 0, 10, 0])
    expected = float(specimen.height_at(-4e-9, 2e-9)) + 0.8e-9
    assert plant.surface_m == pytest.approx(expected, abs=1e-14)


def test_provoked_rise_has_its_speed_and_its_limit():
    plant = flat()
    hold(plant, 10, z_V=10.0)
    assert plant.surface_m == 0.0
    plant.provoke_rise(1e-3, 2e-9)
    rises = [(plant.step([0, 0, 10, 0]), plant.surface_m)[1] for _ in range(10)]
    expected = np.minimum(np.arange(1, 11) * 1e-3 * PERIOD_S, 2e-9)
    assert rises == pytest.approx(list(expected), abs=1e-20)
    plant.provoke_rise(1e-3, 0.0)
    hold(plant, 10, z_V=10.0)
    assert plant.surface_m == pytest.approx(0.0, abs=1e-24)


@pytest.mark.parametrize(("speed", "height"), [(0.0, 1e-9), (-1.0, 1e-9), (math.nan, 1e-9), (2.0, 1e-9), (1e-3, -1e-9), (1e-3, math.inf)])
def test_impossible_rise(speed, height):
    with pytest.raises(ValueError, match="is not possible; accepted"):
        flat().provoke_rise(speed, height)


# The preamplifier


def amplitude(plant: StmPlant, frequency_Hz: float) -> float:
    """Of the output for a bias that swings by 0.1 V at a constant gap."""
    rest_at(plant, 0.5e-9, 0.0)
    t = np.arange(20_000) * PERIOD_S
    volts = np.zeros((t.size, 4))
    volts[:, 2] = 0.5e-9 / plant.parameters.z_m_per_V
    volts[:, 3] = 0.1 * np.sin(2 * math.pi * frequency_Hz * t)
    out = plant.run(volts)[10_000:]
    return float(2 * abs(np.mean(out * np.exp(-2j * math.pi * frequency_Hz * t[10_000:]))))


@pytest.mark.parametrize("bandwidth_Hz", [10e3, 50e3])
def test_bandwidth_is_where_the_power_is_half(bandwidth_Hz):
    # frequencies with whole periods in the window of 10,000 samples
    grid = 1 / (10_000 * PERIOD_S)
    low, corner = (round(f / grid) * grid for f in (bandwidth_Hz / 50, bandwidth_Hz))
    plant = flat(preamp_bandwidth_Hz=bandwidth_Hz)
    ratio = amplitude(plant, corner) / amplitude(plant, low)
    assert 20 * math.log10(ratio) == pytest.approx(-3.01, abs=0.15)


@pytest.mark.parametrize(("bias_V", "sign"), [(0.1, 1), (-0.1, -1)])
def test_logarithmic_preamplifier(bias_V, sign):
    plant = flat(preamp="logarithmic")
    gap_m = plant.parameters.gap_m(0.1, 1e-9)
    volts = rest_at(plant, gap_m, bias_V)[-1]
    assert volts == close(sign * math.log10(1 + 1e-9 / 1e-12), rel=1e-6)


def test_rails_hold_and_are_left_at_once():
    plant = flat()
    out = rest_at(plant, -1e-9, -1.0)
    assert out.min() == -5.0 and out[-1] == -5.0
    plant.state[[State.TIP_Z, State.HELD_Z_V]] = 50e-9, 5.0
    after = hold(plant, 30, z_V=5.0, bias_V=-1.0)
    decay = math.exp(-2 * math.pi * 50e3 * PERIOD_S)
    assert after == close(list(-5.0 * decay ** np.arange(1, 31)), rel=1e-9)


# Noise


def test_shot_and_johnson_noise_have_their_variance():
    samples = 200_000
    # A fast amplifier leaves the samples nearly white; its own first-order factor is known: a / (2 - a).
    fast_Hz = 1 / PERIOD_S / 4
    share = 1 - math.exp(-2 * math.pi * fast_Hz * PERIOD_S)
    for current_A, feedback_ohm in ((2e-9, 1e13), (1e-15, 1e9), (1e-9, 1e9)):
        plant = flat(**WHITE, preamp_bandwidth_Hz=fast_Hz, feedback_ohm=feedback_ohm, temperature_K=300.0)
        gap_m = plant.parameters.gap_m(0.1, current_A)
        rest_at(plant, gap_m, 0.1)
        out_A = hold(plant, samples, z_V=gap_m / 10e-9, bias_V=0.1) / 1e9
        expected = E_C * current_A / PERIOD_S + 4 * K_J_PER_K * 300 / feedback_ohm / (2 * PERIOD_S)
        assert out_A.mean() == pytest.approx(current_A, abs=5 * math.sqrt(expected / samples))
        assert out_A.var() == close(expected * share / (2 - share), rel=0.02)


def test_normal_numbers_are_normal():
    draws = np.array([standard_normal(np.uint64(12345), np.uint64(n)) for n in range(50_000)])
    assert abs(draws.mean()) < 4 / math.sqrt(draws.size)
    assert draws.var() == pytest.approx(1.0, abs=4 * math.sqrt(2 / draws.size))
    assert (np.abs(draws) > 3).mean() == pytest.approx(0.0027, abs=0.001)
    assert abs(np.mean(draws[1:] * draws[:-1])) < 4 / math.sqrt(draws.size)


def naive_normal(key: int, number: int) -> float:
    """SplitMix64 as its paper gives it, then Box-Muller."""
    word = 2**64 - 1
    z = (key + number * 0x9E3779B97F4A7C15) & word
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & word
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
    z ^= z >> 31
    return math.sqrt(-2 * math.log(((z >> 32) + 1) / 2**32)) * math.cos(2 * math.pi * (z & 0xFFFFFFFF) / 2**32)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**53))
def test_noise_equals_the_naive_one(key, number):
    assert standard_normal(np.uint64(key), np.uint64(number)) == pytest.approx(naive_normal(key, number), rel=1e-12, abs=1e-12)


def noisy(seed: int) -> bytes:
    plant = flat(seed, noise=True)
    return hold(plant, 3000, z_V=0.05, bias_V=0.1).tobytes()


def test_seed_decides_the_noise():
    assert noisy(1) == noisy(1)
    assert noisy(1) != noisy(2)
    assert noisy(0) != noisy(2**64 - 1)


def test_neighbouring_seeds_are_unrelated():
    runs = [np.frombuffer(noisy(seed)) for seed in (7, 8)]
    ends = [np.diff(run[-1000:]) for run in runs]
    assert abs(np.corrcoef(ends)[0, 1]) < 0.15


def test_same_noise_in_another_process_and_thread():
    program = "import hashlib, test_plant_stm as t; print(hashlib.sha256(t.noisy(5)).hexdigest())"
    script = f"import sys, threading; sys.path[:] = {[str(__file__).rsplit('/', 1)[0], *sys.path]!r}\nimport test_plant_stm\n"
    script += f"thread = threading.Thread(target=exec, args=({program!r},)); thread.start(); thread.join()"
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120).stdout.strip()
    assert there == hashlib.sha256(noisy(5)).hexdigest()


def test_one_by_one_equals_a_run():
    volts = np.column_stack([np.linspace(-1, 1, 300), np.linspace(1, -1, 300), np.linspace(0.2, 0.04, 300), np.full(300, 0.1)])
    together, single = flat(3, noise=True), flat(3, noise=True)
    out = together.run(volts)
    assert [single.step(row) for row in volts] == list(out)
    assert single.state.tobytes() == together.state.tobytes()


# The whole, against a naive model


class NaiveStm:
    """The same microscope without noise, written for reading: x[n+1] from x[n] by small Euler steps."""

    def __init__(self, specimen: Specimen, p: StmParameters) -> None:
        self.specimen, self.p = specimen, p
        self.time_s, self.x, self.y, self.z, self.v, self.out = 0.0, 0.0, 0.0, 10 * p.z_m_per_V, 0.0, 0.0
        self.held = np.array([0.0, 0.0, 10.0, 0.0])

    def step(self, dac_V: np.ndarray) -> float:
        p, steps = self.p, 200
        w, dt = 2 * math.pi * p.z_resonance_Hz, PERIOD_S / steps
        for _ in range(steps):
            self.x += 2 * math.pi * p.xy_bandwidth_Hz * (self.held[0] * p.x_m_per_V - self.x) * dt
            self.y += 2 * math.pi * p.xy_bandwidth_Hz * (self.held[1] * p.y_m_per_V - self.y) * dt
            self.v += (w * w * (self.held[2] * p.z_m_per_V - self.z) - w / p.z_quality * self.v) * dt
            self.z += self.v * dt
        self.time_s += PERIOD_S
        at = self.x - p.drift_x_m_per_s * self.time_s, self.y - p.drift_y_m_per_s * self.time_s
        gap = self.z - float(self.specimen.height_at(*at)) - p.mean_height_m - p.drift_z_m_per_s * self.time_s
        target = p.preamp_gain_V_per_A * p.current_A(dac_V[3], gap)
        self.out = target + (self.out - target) * math.exp(-2 * math.pi * p.preamp_bandwidth_Hz * PERIOD_S)
        self.out = min(max(self.out, -p.preamp_rail_V), p.preamp_rail_V)
        self.held = np.array(dac_V)
        return self.out


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_plant_equals_the_naive_model(seed):
    random = np.random.default_rng(seed)
    specimen = Specimen(random.normal(0, 0.2e-9, (9, 11)), 300e-9, 200e-9, "rough")
    # an easy slope of the current, so that the naive model's small errors in z stay small in the output
    parameters = StmParameters(noise=False, work_function_eV=0.1, preamp_gain_V_per_A=1e6, mean_height_m=2e-9, drift_z_m_per_s=1e-9)
    plant, naive = StmPlant(specimen, parameters, 0, PERIOD_S), NaiveStm(specimen, parameters)
    for state, value in ((State.TIP_Z, 4e-9), (State.HELD_Z_V, 0.4)):
        plant.state[state] = value
    naive.z, naive.held[2] = 4e-9, 0.4
    for _ in range(80):
        volts = np.array([random.uniform(-3, 3), random.uniform(-2, 2), random.uniform(0.35, 0.45), random.uniform(-0.2, 0.2)])
        assert plant.step(volts) == pytest.approx(naive.step(volts), abs=0.01)
        assert plant.tip_z_m == pytest.approx(naive.z, abs=5e-12)
        assert plant.tip_x_m == pytest.approx(naive.x, abs=50e-12)


# What is refused


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"z_resonance_Hz": 20e3},
            "z_resonance_Hz = 20000.0 is not possible; accepted: 30000 to 1e[+]06 Hz, because the twin compresses time",
        ),
        ({"z_quality": 0.5}, "z_quality"),
        ({"work_function_eV": 0.0}, "work_function_eV = 0.0 is not possible; accepted: 0.1 to 10 eV"),
        ({"preamp_gain_V_per_A": math.nan}, "preamp_gain"),
        ({"temperature_K": -1.0}, "temperature_K"),
        ({"x_m_per_V": "wide"}, "x_m_per_V = 'wide'"),
        ({"x_m_per_V": True}, "x_m_per_V"),
        ({"preamp": "square"}, "accepted: 'linear', 'logarithmic'"),
        ({"noise": "loud"}, "accepted: True, False"),
    ],
)
def test_parameters_refused(options, match):
    with pytest.raises(ValueError, match=match) as caught:
        StmParameters(**options)
    assert "\n" not in str(caught.value)


def test_plant_refused():
    with pytest.raises(ValueError, match="sample_period_s"):
        StmPlant(FLAT, sample_period_s=0.0)
    with pytest.raises(ValueError, match="z_resonance_Hz = 60000 is too fast for 1e[+]05 samples a second"):
        StmPlant(FLAT, sample_period_s=1e-5)
    with pytest.raises(ValueError, match="mean_height_m = 2e-07 puts the surface at 200 to 200 nm; accepted: within the z range"):
        StmPlant(FLAT, StmParameters(mean_height_m=200e-9))
    for seed in (-1, 2**64, 0.5, True):
        with pytest.raises(ValueError, match="seed = .* is not possible"):
            StmPlant(FLAT, seed=seed)
    for volts in (np.zeros(4), np.zeros((3, 6))):
        with pytest.raises(ValueError, match=r"accepted: \(n, 4\)"):
            flat().run(volts)
    with pytest.raises(ValueError, match=r"accepted: \(4,\)"):
        flat().step(np.zeros(3))


def test_arrays_are_what_the_board_process_needs():
    plant = StmPlant(load("au111"))
    assert plant.step_address > 0
    assert len(State) < STATE_SIZE and len(Parameter) < PARAMETER_SIZE
    sizes = (plant.state, STATE_SIZE), (plant.parameters_array, PARAMETER_SIZE), (plant.dac_V, DAC_ENTRIES), (plant.adc_V, 1)
    for array, size in sizes:
        assert array.dtype == np.float64 and array.shape == (size,) and array.flags.c_contiguous and array.flags.writeable
    assert plant.heights.dtype == np.float64 and plant.heights.flags.c_contiguous


EVERYTHING = {
    "x_hysteresis": 0.1, "y_hysteresis": 0.1, "z_hysteresis": 0.1, "x_creep_per_decade": 0.02, "y_creep_per_decade": 0.02,
    "z_creep_per_decade": 0.02, "first_drift_x_m_per_s": 1e-10, "first_drift_y_m_per_s": 1e-10, "first_drift_z_m_per_s": 1e-10,
    "tip_changes_per_s": 1.0, "tip_change_on_contact": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("effects", [{}, EVERYTHING], ids=["default", "everything"])
def test_step_is_fast_enough_for_the_twin(effects):
    """The limit is 400 ns; four times that here, for a shared machine must not fail a test. Measured: some 90 and 200 ns."""
    plant = StmPlant(load("au111"), StmParameters(**effects))
    hold(plant, 10, z_V=0.07, bias_V=0.1)
    best_s = math.inf
    for _ in range(3):
        begin = time.perf_counter()
        hold(plant, 50_000, z_V=0.07, bias_V=0.1)
        best_s = min(best_s, time.perf_counter() - begin)
    print(f"{best_s / 50_000 * 1e9:.0f} ns a step")
    assert best_s / 50_000 < 1600e-9
