"""Where everything is in the two arrays of the STM plant: single numbers by name, then blocks that belong to one concern each."""

from __future__ import annotations

from enum import auto

from . import adatoms, flicker, scanner, tip
from .motion import Coarse, CoarseMotor
from .places import Places

AXES = 3  # x, y, z
MOTOR = 4  # place of the coarse motor's count in `dac_V`, after x, y, z and bias
DAC_ENTRIES = 5


class State(Places):
    """Single places in the state array (SI units; lengths in metres); the blocks follow."""

    SAMPLES = auto()  # calls so far; a whole number, exact up to 2^53
    TIP_X = auto()  # where the scanner has put the tip
    TIP_Y = auto()
    TIP_Z = auto()
    TIP_Z_VELOCITY = auto()
    HELD_X_V = auto()  # what the DACs hold from this sample to the next
    HELD_Y_V = auto()
    HELD_Z_V = auto()
    PIEZO_X_V = auto()  # that would take a linear piezo at rest to where hysteresis and creep take this one
    PIEZO_Y_V = auto()
    PIEZO_Z_V = auto()
    RISE = auto()  # of the surface, provoked
    SURFACE = auto()  # height under the tip
    GAP = auto()
    CURRENT = auto()  # without the noise of current and preamplifier, amperes
    PREAMP = auto()  # volts
    IN_CONTACT = auto()  # 0 or 1
    TOUCHED = auto()  # 0 or 1: whether a contact began with the last sample
    CONTACTS = auto()
    CONTACT_DEPTH = auto()  # the deepest so far
    NOISE_KEY_HIGH = auto()  # the 64-bit key in two halves, each exact in a double
    NOISE_KEY_LOW = auto()


FLICKER_AT = len(State)
PLAYS_AT = FLICKER_AT + flicker.STATES  # axis by axis
RELAXATIONS_AT = PLAYS_AT + AXES * scanner.PLAYS
COARSE_AT = RELAXATIONS_AT + AXES * scanner.RELAXATIONS
TIP_AT = COARSE_AT + len(Coarse)
RING_AT = TIP_AT + len(tip.Tip)
ADATOMS_AT = RING_AT + tip.EVENTS * tip.ROW
STATE_SIZE = ADATOMS_AT + adatoms.STATES


class Parameter(Places):
    """Single places in the parameter array: `StmParameters`, worked out for one sample period. The blocks follow.

    RISE_*, GAIN_V_PER_A, PREAMP_SHARE and JOHNSON_VARIANCE may change while running.
    """

    SAMPLE_PERIOD = auto()
    X_M_PER_V = auto()
    Y_M_PER_V = auto()
    Z_M_PER_V = auto()
    XY_SHARE = auto()  # of the way to its target that the lateral piezo covers in one sample
    Z_FROM_Z = auto()  # the resonance's transition matrix over one sample
    Z_FROM_VELOCITY = auto()
    VELOCITY_FROM_Z = auto()
    VELOCITY_FROM_VELOCITY = auto()
    ROWS = auto()
    COLUMNS = auto()
    SIZE_X = auto()
    SIZE_Y = auto()
    MEAN_HEIGHT = auto()
    DRIFT_X = auto()
    DRIFT_Y = auto()
    DRIFT_Z = auto()
    TWO_KAPPA = auto()  # of the tip of the start
    CONTACT_CONDUCTANCE = auto()
    CONTACT_RELEASE = auto()
    SHOT_VARIANCE_PER_A = auto()  # A^2 per A; 0 without noise
    JOHNSON_VARIANCE = auto()  # A^2; 0 without noise
    LOGARITHMIC = auto()  # 0 or 1
    GAIN_V_PER_A = auto()
    LOG_V_PER_DECADE = auto()
    LOG_REFERENCE_A = auto()
    PREAMP_SHARE = auto()
    RAIL_V = auto()
    RISE_SPEED = auto()
    RISE_LIMIT = auto()
    FIRST_DRIFT_X = auto()  # of the drift that dies away, metres a second at the start
    FIRST_DRIFT_Y = auto()
    FIRST_DRIFT_Z = auto()
    DRIFT_TIME = auto()
    HYSTERETIC = auto()  # 0 or 1, of any axis
    CREEPING = auto()
    FLICKERING = auto()  # 0 or 1: whether there is any 1/f noise


FLICKER_COEFFICIENTS_AT = len(Parameter)
THRESHOLDS_AT = FLICKER_COEFFICIENTS_AT + flicker.COEFFICIENTS
PLAY_WEIGHTS_AT = THRESHOLDS_AT + scanner.PLAYS  # axis by axis
SHARES_AT = PLAY_WEIGHTS_AT + AXES * (1 + scanner.PLAYS)
CREEP_WEIGHTS_AT = SHARES_AT + scanner.RELAXATIONS  # axis by axis
COARSE_MOTOR_AT = CREEP_WEIGHTS_AT + AXES * 2
ODDS_AT = COARSE_MOTOR_AT + len(CoarseMotor)
MANIPULATION_AT = ODDS_AT + len(tip.Odds)
PARAMETER_SIZE = MANIPULATION_AT + len(adatoms.Manipulation)
