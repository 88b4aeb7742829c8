"""The STM that the twin scans: scanner, surface, tunnelling current and preamplifier. What it models and what not: docs/guide/plant.md."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..specimens import Specimen
from . import adatoms, flicker, tip
from . import stm_layout as at
from .motion import Coarse, drift_many
from .noise import mix64, stream_key
from .parameters_file import load_parameters
from .scanner import PLAYS, RELAXATIONS
from .stm_layout import AXES, DAC_ENTRIES, MOTOR, Parameter, State
from .stm_parameters import DAC_V, StmParameters, parameters_array, preamp_of_gain_code
from .stm_step import BY_CALL, CALL_STREAM, FLICKER_STREAM, callable_step, compiled_loop, compiled_step, drive_piezos
from .tip import TipChange, TipShape

__all__ = ["Parameter", "State", "StmParameters", "StmPlant", "TipChange", "TipShape", "load_parameters"]

SAMPLE_PERIOD_S = 560e-9  # of an AD4020 read every 56 cycles at 100 MHz


class StmPlant:
    """One microscope with one specimen; begins at rest with the tip withdrawn (z at +10 V), x = y = bias = 0.

    The board process calls `step_address` with the addresses of `state`, `parameters_array`, `heights`, `dac_V` and `adc_V` once a sample;
    this object owns the arrays and must outlive the calls. `dac_V` has five entries: the volts of x, y, z and bias, and the count of net
    steps that the coarse motor was told to take away from the specimen. Everything that changes lies in `state`, so any thread may make the
    calls (one at a time), and two plants with equal arguments give equal bits. Raising z volts retracts the tip.

    Raises `ValueError`, one line, for a sample period or seed out of range, a resonance or bandwidth too fast for the sample period, a
    surface beyond the reach of z, and adatoms beside the specimen.
    """

    def __init__(
        self,
        specimen: Specimen,
        parameters: StmParameters | None = None,
        seed: int = 0,
        sample_period_s: float = SAMPLE_PERIOD_S,
    ) -> None:
        parameters = parameters or StmParameters()
        _check(specimen, parameters, sample_period_s)
        self.specimen = specimen
        self.parameters = parameters
        self.sample_period_s = sample_period_s
        self.heights: NDArray[np.float64] = specimen.heights_m
        self.parameters_array = parameters_array(parameters, specimen, sample_period_s)
        self.dac_V = np.array([0.0, 0.0, DAC_V, 0.0, 0.0])
        self.adc_V = np.zeros(1)
        self.state = np.zeros(at.STATE_SIZE)
        # Blocks of the two arrays, as views.
        self._coarse = self.state[at.COARSE_AT : at.TIP_AT]
        self._tip = self.state[at.TIP_AT : at.RING_AT]
        self._gain_code = 0
        self._begin(seed)
        self.step_address: int = compiled_step()
        self._step = callable_step()

    def _begin(self, seed: int) -> None:
        parameters = self.parameters
        self._tip[tip.Tip.WORK_FUNCTION], self._tip[tip.Tip.KAPPA_FACTOR] = parameters.work_function_eV, 1.0
        self._coarse[Coarse.GAP] = parameters.coarse_gap_m
        self.state[State.HELD_Z_V] = DAC_V
        self.state[State.TIP_Z] = parameters.z_m_per_V * self._rest_z_V()
        adatoms.begin(self.state, at.ADATOMS_AT, parameters.adatoms_m, parameters.adatom_lattice_m)
        centre = float(self._heights_at(0.0, 0.0)) + parameters.mean_height_m - parameters.coarse_gap_m
        self.state[State.SURFACE] = centre
        self.state[State.GAP] = self.state[State.TIP_Z] - centre
        self.seed_noise(seed)

    def _rest_z_V(self) -> float:
        """Bring the z piezo's memory to where it ends up after z has been at +10 V for ever; x and y have never moved."""
        drive_piezos(self.state, self.parameters_array)  # sets the play operators
        z = AXES - 1
        plays = self.state[at.PLAYS_AT + PLAYS * z : at.RELAXATIONS_AT]
        weights = self.parameters_array[at.PLAY_WEIGHTS_AT + (1 + PLAYS) * z : at.SHARES_AT]
        if self.parameters_array[Parameter.CREEPING]:
            self.state[at.RELAXATIONS_AT + RELAXATIONS * z : at.COARSE_AT] = weights[0] * DAC_V + weights[1:] @ plays
            drive_piezos(self.state, self.parameters_array)
        return float(self.state[State.PIEZO_Z_V])

    def seed_noise(self, seed: int) -> None:
        """Choose all that is random from the next sample on: white noise, 1/f noise (begun anew), tip changes, scatter of the coarse motor.

        The white noise and the tip changes of sample n then depend on the seed and on n, and on nothing else.
        """
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**64:
            raise ValueError(f"seed = {seed!r} is not possible; accepted: a whole number from 0 to 2^64 - 1")
        key = _key_of_seed(seed)
        self.state[State.NOISE_KEY_HIGH] = float(key >> 32)
        self.state[State.NOISE_KEY_LOW] = float(key & 0xFFFFFFFF)
        if self.parameters_array[Parameter.FLICKERING]:
            stream = _stream(key, FLICKER_STREAM)
            flicker.begin(self.state, at.FLICKER_AT, self.parameters_array, at.FLICKER_COEFFICIENTS_AT, stream)

    def step(self, dac_V: ArrayLike) -> float:
        """One sample: the DAC volts (x, y, z, bias) at this instant; returns the preamplifier's volts at this instant.

        A fifth entry is the coarse motor's count; without it, the count stays. The bias and the motor act at once, the scanner from this
        instant on: its effect shows in the next sample.
        """
        entries = np.asarray(dac_V, dtype=np.float64)
        if entries.shape not in ((MOTOR,), (DAC_ENTRIES,)):
            raise ValueError(f"DAC volts of shape {entries.shape} are not possible; accepted: (4,), for x, y, z and bias, or (5,)")
        self.dac_V[: entries.size] = entries
        arrays = (self.state, self.parameters_array, self.heights, self.dac_V, self.adc_V)
        self._step(*(array.ctypes.data for array in arrays))
        return float(self.adc_V[0])

    def run(self, dac_V: ArrayLike) -> NDArray[np.float64]:
        """As many samples as `dac_V`, shape (n, 4) or (n, 5), has rows: the same compiled function in a compiled loop.

        The entries are those of `step`. Returns volts, shape (n,).
        """
        volts = np.ascontiguousarray(dac_V, dtype=np.float64)
        if volts.ndim != 2 or volts.shape[1] not in (MOTOR, DAC_ENTRIES):
            raise ValueError(f"DAC volts of shape {volts.shape} are not possible; accepted: (n, 4), for x, y, z and bias, or (n, 5)")
        if volts.shape[1] == MOTOR:
            volts = np.column_stack([volts, np.full(volts.shape[0], self.dac_V[MOTOR])])
        out = np.zeros(volts.shape[0])
        if out.size:
            compiled_loop()(self.state, self.parameters_array, self.heights, volts, out)
            self.dac_V[:] = volts[-1]
            self.adc_V[0] = out[-1]
        return out

    def drift_m(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """How far drift has carried the specimen at `time_s` (any shape; seconds since the start): shape (..., 3), x, y, z in metres.

        This is the very function that the compiled step uses.
        """
        times = np.asarray(time_s, dtype=np.float64)
        parameters = self.parameters_array
        speeds = parameters[[Parameter.DRIFT_X, Parameter.DRIFT_Y, Parameter.DRIFT_Z]]
        first = parameters[[Parameter.FIRST_DRIFT_X, Parameter.FIRST_DRIFT_Y, Parameter.FIRST_DRIFT_Z]]
        drifts: NDArray[np.float64] = drift_many(times.ravel(), speeds, first, parameters[Parameter.DRIFT_TIME])
        return drifts.reshape(*times.shape, AXES)

    def surface_at(self, x_m: ArrayLike, y_m: ArrayLike, time_s: ArrayLike) -> NDArray[np.float64]:
        """Height in metres of the surface at points in the frame of the scanner; `x_m`, `y_m` and `time_s` broadcast, as does the result.

        That is the specimen with mean height and drift, and with the coarse motor and the adatoms where they are now; without a provoked
        rise, and whatever the tip is like.
        """
        drift = self.drift_m(time_s)
        x = np.asarray(x_m, dtype=np.float64) - drift[..., 0] - self._coarse[Coarse.X]
        y = np.asarray(y_m, dtype=np.float64) - drift[..., 1] - self._coarse[Coarse.Y]
        risen = self.parameters_array[Parameter.MEAN_HEIGHT] + drift[..., 2] - self._coarse[Coarse.GAP]
        return np.asarray(self._heights_at(x, y) + risen)

    def _heights_at(self, x_m: ArrayLike, y_m: ArrayLike) -> NDArray[np.float64]:
        """Of the specimen with its adatoms, in its frame; `x_m` and `y_m` broadcast."""
        heights = self.specimen.height_at(x_m, y_m)
        if not self.parameters.adatoms_m:
            return heights
        x, y = (np.broadcast_to(np.asarray(each, np.float64), heights.shape).ravel() for each in (x_m, y_m))
        raised: NDArray[np.float64] = adatoms.heights_over(self.state, at.ADATOMS_AT, self.parameters_array, at.MANIPULATION_AT, x, y)
        return heights + raised.reshape(heights.shape)

    def provoke_rise(self, speed_m_per_s: float, height_m: float) -> None:
        """Inject a fault: from the next sample on the surface moves at `speed_m_per_s` until it is `height_m` above where it belongs.

        A second call sets a new speed and a new total height; height 0 brings the surface down again, at the given speed.
        """
        if not 0.0 < speed_m_per_s <= 1.0:
            raise ValueError(f"speed_m_per_s = {speed_m_per_s!r} is not possible; accepted: above 0, up to 1 m/s")
        if not 0.0 <= height_m <= 1e-6:
            raise ValueError(f"height_m = {height_m!r} is not possible; accepted: 0 to 1e-06 m")
        self.parameters_array[Parameter.RISE_SPEED] = speed_m_per_s
        self.parameters_array[Parameter.RISE_LIMIT] = height_m

    def change_tip(self, change: int | TipShape) -> TipShape:
        """Change the tip before the next sample: to a shape, or at random as a seed decides. Returns the new shape.

        At random means as by rate or contact: length and place of the apex change from what they are by up to the parameters' limits.
        Raises `ValueError`, one line, for a seed that is not from 0 to 2^64 - 1 and a shape that is not possible.
        """
        sample = self.state[State.SAMPLES] + 1.0
        if isinstance(change, TipShape):
            tip.check(change)
            tip.give_shape(self.state, at.TIP_AT, change)
            tip.record(self.state, at.TIP_AT, at.RING_AT, self.parameters_array, at.ODDS_AT, sample, BY_CALL)
        elif isinstance(change, int) and not isinstance(change, bool) and 0 <= change < 2**64:
            key = _stream(_key_of_seed(change), CALL_STREAM)
            tip.change_at_random(self.state, at.TIP_AT, at.RING_AT, self.parameters_array, at.ODDS_AT, key, np.uint64(0), sample, BY_CALL)
        else:
            raise ValueError(f"a tip change of {change!r} is not possible; accepted: a TipShape, or a seed from 0 to 2^64 - 1")
        return self.tip_shape

    @property
    def gain_codes(self) -> range:
        """What `select_gain` takes."""
        return range(1 + len(self.parameters.preamp_gains_V_per_A))

    def select_gain(self, code: int) -> None:
        """Switch the preamplifier from the next sample on: code 0 is `preamp_gain_V_per_A`, the others count through the table.

        The output goes on from where it is, with the new bandwidth. Raises `ValueError`, one line, for a code beyond the table.
        """
        for name, value in preamp_of_gain_code(self.parameters, code, self.sample_period_s).items():
            self.parameters_array[name] = value
        self._gain_code = code

    def forget_contacts(self) -> None:
        """Count contacts from zero again. A contact that lasts is not counted a second time."""
        self.state[State.CONTACTS] = 0.0
        self.state[State.CONTACT_DEPTH] = 0.0

    @property
    def time_s(self) -> float:
        """Time of the last sample; the first is at one sample period."""
        return float(self.state[State.SAMPLES] * self.parameters_array[Parameter.SAMPLE_PERIOD])

    @property
    def contacts(self) -> int:
        """How often the tip has met the surface."""
        return int(self.state[State.CONTACTS])

    @property
    def contact_depth_m(self) -> float:
        """How deep the tip has been in the surface at most; 0 without contact."""
        return float(self.state[State.CONTACT_DEPTH])

    @property
    def gap_m(self) -> float:
        """From surface to tip at the last sample, 1/f noise of the height included; of the nearer apex; negative within the surface."""
        return float(self.state[State.GAP])

    @property
    def surface_m(self) -> float:
        """Height of the surface under the (first) apex at the last sample, drift, rise and coarse motor included."""
        return float(self.state[State.SURFACE])

    @property
    def current_A(self) -> float:
        """Current at the last sample, without the noise of current and preamplifier."""
        return float(self.state[State.CURRENT])

    @property
    def tip_x_m(self) -> float:
        """Where the scanner has put the tip, in its frame; a changed tip's apex is beside that."""
        return float(self.state[State.TIP_X])

    @property
    def tip_y_m(self) -> float:
        """Where the scanner has put the tip, in its frame; a changed tip's apex is beside that."""
        return float(self.state[State.TIP_Y])

    @property
    def tip_z_m(self) -> float:
        """Where the scanner has put the tip; larger is farther from the specimen."""
        return float(self.state[State.TIP_Z])

    @property
    def tip_shape(self) -> TipShape:
        """The tip as it is now."""
        return tip.shape_of(self._tip)

    @property
    def tip_changes(self) -> tuple[TipChange, ...]:
        """The last 64 changes, oldest first."""
        return tip.changes(int(self._tip[tip.Tip.CHANGES]), self.state[at.RING_AT :])

    @property
    def tip_change_count(self) -> int:
        """How often the tip has changed."""
        return int(self._tip[tip.Tip.CHANGES])

    @property
    def adatoms_m(self) -> NDArray[np.float64]:
        """Where the adatoms are now, shape (n, 2): x and y in the frame of the specimen, as in the parameters, and in their order."""
        return adatoms.places(self.state, at.ADATOMS_AT, len(self.parameters.adatoms_m))

    @property
    def adatom_hops(self) -> int:
        """How often an adatom has hopped from one site to the next."""
        return int(self.state[at.ADATOMS_AT + adatoms.Adatoms.HOPS])

    @property
    def gain_code(self) -> int:
        """The preamplifier's."""
        return self._gain_code

    @property
    def coarse_m(self) -> NDArray[np.float64]:
        """Where the coarse motor has put the specimen, shape (3,): along x and y, and how far from the tip."""
        return np.array(self._coarse[Coarse.X : Coarse.GAP + 1])


def _key_of_seed(seed: int) -> int:
    # Mixed twice, so that neighbouring seeds are far apart in the sequence and 0 is as good as any other.
    return int(mix64(np.uint64(int(mix64(np.uint64(seed))) ^ 0x9E3779B97F4A7C15)))


def _stream(key: int, stream: np.uint64) -> np.uint64:
    return np.uint64(int(stream_key(np.uint64(key), stream)))  # what numba returns is a plain int


def _check(specimen: Specimen, parameters: StmParameters, sample_period_s: float) -> None:
    if not (math.isfinite(sample_period_s) and 1e-9 <= sample_period_s <= 1e-3):
        raise ValueError(f"sample_period_s = {sample_period_s!r} is not possible; accepted: 1e-09 to 0.001 s")
    rate_Hz = 1 / sample_period_s
    for name in ("z_resonance_Hz", "xy_bandwidth_Hz", "preamp_bandwidth_Hz", "preamp_bandwidths_Hz"):
        fastest = max(np.atleast_1d(getattr(parameters, name)), default=0.0)
        if fastest > rate_Hz / 4:
            raise ValueError(f"{name} = {fastest:g} is too fast for {rate_Hz:.4g} samples a second; accepted: up to a quarter of that")
    reach = DAC_V * parameters.z_m_per_V
    low = float(specimen.heights_m.min()) + parameters.mean_height_m
    high = float(specimen.heights_m.max()) + parameters.mean_height_m + (parameters.adatom_height_m if parameters.adatoms_m else 0.0)
    if low <= -reach or high >= reach:
        raise ValueError(
            f"mean_height_m = {parameters.mean_height_m!r} puts the surface at {low * 1e9:.4g} to {high * 1e9:.4g} nm; "
            f"accepted: within the z range of +-{reach * 1e9:g} nm"
        )
    half_x_m, half_y_m = specimen.size_x_m / 2, specimen.size_y_m / 2
    for x_m, y_m in parameters.adatoms_m:
        if abs(x_m) > half_x_m or abs(y_m) > half_y_m:
            raise ValueError(
                f"adatoms_m has [{x_m:g}, {y_m:g}], which is beside {specimen.name}; accepted: within +-{half_x_m:g} m in x and "
                f"+-{half_y_m:g} m in y"
            )
