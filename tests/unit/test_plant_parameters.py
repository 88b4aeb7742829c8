"""Gain codes of the preamplifier, and parameters from a file."""

import dataclasses
import math

import numpy as np
import pytest
from test_plant_stm import FLAT, PERIOD_S, QUIET, WHITE, close, flat, hold, rest_at

from reflexarc_sim.plants.stm import StmParameters, StmPlant, load_parameters

K_J_PER_K = 1.380649e-23
TABLE = ((1e9, 50e3), (1e7, 400e3), (1e8, 200e3), (1e10, 7e3))


# Gain codes


@pytest.mark.parametrize(("code", "gain", "bandwidth_Hz"), [(code, *row) for code, row in enumerate(TABLE)])
def test_gain_and_bandwidth_of_a_code(code, gain, bandwidth_Hz):
    plant = flat()
    plant.select_gain(code)
    gap_m = plant.parameters.gap_m(0.1, 100e-12)
    z_V = gap_m / 10e-9
    rest_at(plant, gap_m, 0.0)
    out = hold(plant, 400, z_V=z_V, bias_V=0.1)
    times_s = np.arange(1, 401) * PERIOD_S
    assert out == pytest.approx(gain * 100e-12 * (1 - np.exp(-2 * math.pi * bandwidth_Hz * times_s)), rel=1e-6)
    assert plant.gain_code == code


def test_switching_keeps_the_output_going():
    plant = flat()
    gap_m = plant.parameters.gap_m(0.1, 100e-12)
    rest_at(plant, gap_m, 0.1)
    plant.select_gain(3)
    out = hold(plant, 3, z_V=gap_m / 10e-9, bias_V=0.1)
    decay = math.exp(-2 * math.pi * 7e3 * PERIOD_S)
    assert out == close([1.0 - 0.9 * decay**n for n in (1, 2, 3)], rel=1e-6)
    plant.select_gain(0)
    assert hold(plant, 400, z_V=gap_m / 10e-9, bias_V=0.1)[-1] == close(0.1, rel=1e-6)


def test_overload_is_left_at_once_with_any_code():
    for code, (gain, bandwidth_Hz) in enumerate(TABLE):
        plant = flat()
        plant.select_gain(code)
        rest_at(plant, 0.05e-9, -0.1)
        assert hold(plant, 2000, z_V=0.005, bias_V=-0.1)[-1] == -5.0, gain
        after = hold(plant, 2, z_V=0.005, bias_V=0.0)
        assert after[0] == close(-5.0 * math.exp(-2 * math.pi * bandwidth_Hz * PERIOD_S), rel=1e-9)


def test_johnson_noise_goes_with_the_feedback_resistor():
    """1e7 V/A by 10 Mohm instead of 1 Gohm: ten times the noise of the current."""
    plant = flat(3, **WHITE)
    plant.select_gain(1)
    amperes = hold(plant, 100_000, z_V=10.0) / 1e7
    share = 1 - math.exp(-2 * math.pi * 400e3 * PERIOD_S)
    assert amperes.var() == close(4 * K_J_PER_K * 300 / 10e6 / (2 * PERIOD_S) * share / (2 - share), rel=0.03)


def test_codes_refused():
    plant = flat()
    for code in (4, -1, 15, True, 1.0):
        with pytest.raises(ValueError, match=r"gain code .* is not possible; accepted: 0 to 3, for 1e[+]09, 1e[+]07, 1e[+]08, 1e[+]10 V/A"):
            plant.select_gain(code)
    assert plant.gain_code == 0
    with pytest.raises(ValueError, match="gain code 1 is not possible; accepted: 0, for"):
        flat(preamp="logarithmic").select_gain(1)
    one = StmParameters(**QUIET, preamp_gains_V_per_A=(1e6,), preamp_bandwidths_Hz=(300e3,))
    StmPlant(FLAT, one).select_gain(1)
    with pytest.raises(ValueError, match="preamp_bandwidths_Hz = 500000 is too fast for"):
        StmPlant(FLAT, dataclasses.replace(one, preamp_bandwidths_Hz=(500e3,)))
    with pytest.raises(
        ValueError, match="preamp_gains_V_per_A has 1 and preamp_bandwidths_Hz 3 numbers; accepted: a bandwidth for each gain"
    ):
        StmParameters(preamp_gains_V_per_A=(1e6,))
    with pytest.raises(ValueError, match="accepted: up to 15 numbers, each 1 to 1e[+]08 Hz"):
        StmParameters(preamp_bandwidths_Hz=(0.0, 1e3, 1e3))
    with pytest.raises(ValueError, match="preamp_gains_V_per_A = 10000000.0 is not possible; accepted: up to 15 numbers"):
        StmParameters(preamp_gains_V_per_A=1e7)


# Parameters from a file


def write(tmp_path, text):
    path = tmp_path / "lab.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_field_can_be_read(tmp_path):
    def shown(value: object) -> str:
        return str(value).lower() if isinstance(value, bool) else repr(list(value)) if isinstance(value, tuple) else repr(value)

    default = dataclasses.asdict(StmParameters())
    text = "".join(f"{name} = {shown(value)}\n" for name, value in default.items())
    assert load_parameters(write(tmp_path, text)) == StmParameters()
    assert load_parameters(write(tmp_path, "")) == StmParameters()


def test_values_are_taken(tmp_path):
    text = """\ufeff# our microscope\r
x_hysteresis = 0.12          # of the stroke
z_m_per_V = 5e-9
"z_quality" = 20
preamp = "logarithmic"
noise = false
preamp_gains_V_per_A = [1e6, 1e5]
preamp_bandwidths_Hz = [1e5, 2e5]
"""
    found = load_parameters(str(write(tmp_path, text)))
    expected = {"x_hysteresis": 0.12, "z_m_per_V": 5e-9, "z_quality": 20.0, "preamp": "logarithmic", "noise": False}
    assert found == StmParameters(**expected, preamp_gains_V_per_A=(1e6, 1e5), preamp_bandwidths_Hz=(1e5, 2e5))
    assert isinstance(found.z_quality, float)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("z_quality = 8.0\nx_hysterisis = 0.1", ["2: 'x_hysterisis' is unknown; accepted: 'x_hysteresis' perhaps, or a field of StmParameters"]),
        ("\nzzz = 1", ["2: 'zzz' is unknown; accepted: a field of StmParameters"]),
        ("noise = 1", ["1: noise = 1 is not possible; accepted: True, False"]),
        ("noise = 'yes'", ["1: noise = 'yes' is not possible; accepted: True, False"]),
        ("preamp = 7", ["1: preamp = 7 is not possible; accepted: 'linear', 'logarithmic'"]),
        ("z_quality = true", ["1: z_quality = True is not possible; accepted: 0.6 to 1000"]),
        ("z_quality = nan", ["1: z_quality = nan is not possible; accepted: 0.6 to 1000"]),
        ("x_m_per_V = '50 nm/V'", ["1: x_m_per_V = '50 nm/V' is not possible; accepted: 1e-12 to 2e-05 m/V"]),
        ("x_m_per_V = [1e-9]", ["1: x_m_per_V = [1e-09] is not possible; accepted: 1e-12 to 2e-05 m/V"]),
        ("z_resonance_Hz = 3e3", ["1: z_resonance_Hz = 3000.0 is not possible; accepted: 30000 to 1e+06 Hz, because the twin compresses time"]),
        ("preamp_bandwidths_Hz = [1, 'a', 3]", ["1: preamp_bandwidths_Hz = [1, 'a', 3] is not possible; accepted: up to 15 numbers"]),
        ("preamp_gains_V_per_A = []", ["1: preamp_gains_V_per_A has 0 and preamp_bandwidths_Hz 3 numbers; accepted: a bandwidth for each gain"]),
        ("[scanner]\nz_quality = 1", ["1: 'scanner' is a table; accepted: keys at the top of the file, without tables"]),
        ("a = 1\n\n[[noise]]", ["1: 'a' is unknown", "3: noise = [{}] is not possible; accepted: True, False"]),
        ("z_quality.x = 1", ["1: z_quality = {'x': 1} is not possible"]),
        (f"x_m_per_V = '{'long' * 99}'", ["1: x_m_per_V = 'longlong"]),
        # Several at once, in the order of the file.
        (
            "temperature_K = -1\nnonsense = 2\n# remark\ntip_changes_per_s = 'often'",
            ["1: temperature_K = -1 is not", "2: 'nonsense' is unknown", "4: tip_changes_per_s = 'often' is not possible; accepted: 0 to 10000 1/s"],
        ),
        # What TOML does not allow.
        ("z_quality = 8.0\nx_m_per_V = 50 nm", ["2: not TOML: "]),
        ("z_quality = 8.0\nz_quality = 9.0", ["2: not TOML: "]),
        ("z_quality = ", ["1: not TOML: "]),
        (f"z_quality = {'9' * 5000}", ["1: not TOML: "]),
        (f"z_quality = {'[' * 5000}", ["1: not TOML: "]),
        (b"z_quality = 8.0\n\xff\xfe", ["2: not UTF-8; accepted: a TOML file"]),
    ],
)  # fmt: skip
def test_faults_are_named_with_their_lines(tmp_path, text, lines):
    path = write(tmp_path, text)
    with pytest.raises(ValueError) as caught:
        load_parameters(path)
    said = str(caught.value).split("\n")
    assert len(said) == len(lines), said
    for line, expected in zip(said, lines, strict=True):
        assert line.startswith(f"{path}:{expected}") and len(line) < len(str(path)) + 220, line
        assert "accepted: " in line


def test_files_that_are_none(tmp_path):
    for path, what in (
        (tmp_path / "absent.toml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        ("a\0b", "null"),
        (write(tmp_path, "# " + "x" * (1 << 20)), "longer than 1048576 bytes"),
    ):
        with pytest.raises(ValueError, match=what) as caught:
            load_parameters(path)
        assert "accepted: a TOML file with fields of StmParameters" in str(caught.value) and "\n" not in str(caught.value)
