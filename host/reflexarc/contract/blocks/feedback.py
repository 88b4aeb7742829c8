"""Feedback: two controllers, one for the distance and one for the bias."""

import enum

from reflexarc.contract.blocks.signals import CHANNELS
from reflexarc.contract.registers import Access, Block, Register

ERROR_FRACTION_BITS = 12  # the linearised sample is signed Q6.12 in 18 bits, so is the error
SETPOINT_FRACTION_BITS = 24  # of the setpoint that is in force, while it ramps
KP_FRACTION_BITS = 8  # Q10.8, DAC LSB per unit of error
KI_FRACTION_BITS = 12  # Q6.12, DAC LSB per unit of error and sample
TABLE_BITS = 8  # 256 segments with linear interpolation within, of the logarithm and of the user's table
SLOPE_BITS = 14  # of an entry of the user's table, signed Q2.12 in bits 18 to 31; its value is signed Q6.12 in bits 0 to 17


class FeedbackMode(enum.IntEnum):
    HOLD = 0  # the output stays, but for offset, hold_height and excitation; switching on goes on from there
    ON = 1
    OFF = 2  # the bias controller only: the bias is the gate's register


class Linearizer(enum.IntEnum):
    LOG = 0  # log2 of the magnitude: for a linear preamp, where current is exponential in distance
    LINEAR = 1  # magnitude / 2**14, so that full scale is 32: for a logarithmic preamp
    TABLE = 2  # the user's table over the signed code, for anything else; a falling one turns the controller's sense


def _block(name: str, base: int, doc: str, quantity: str, reset: FeedbackMode) -> Block:
    unit = "V" if quantity == "bias" else "m"
    last = max(FeedbackMode) if quantity == "bias" else FeedbackMode.ON

    def output(name: str, offset: int, access: Access, doc: str, **more: object) -> Register:
        return Register(name, offset, access, doc, unit=unit, quantity=quantity, **more)  # type: ignore[arg-type]

    return Block(
        name,
        base,
        doc,
        (
            Register(
                "mode", 0x00, Access.RW, "The interlock holds too; after arming, ON counts only once it is written again.", width=2, reset=reset,
                maximum=last, values=FeedbackMode,
            ),
            Register("linearizer", 0x04, Access.RW, "What the sample goes through.", width=2, maximum=max(Linearizer), values=Linearizer),
            Register("setpoint", 0x08, Access.RW, "Setpoint after the linearizer, Q6.12.", width=18, signed=True, unit="log2(LSB)", scale=2**-12),
            output("kp", 0x0C, Access.RW, "Proportional gain, Q10.8, per unit of error.", width=18, maximum=(1 << 17) - 1, scale=2**-8),
            output("ki", 0x10, Access.RW, "Integral gain per sample, Q6.12, per unit of error.", width=18, maximum=(1 << 17) - 1, scale=2**-12),
            output("low", 0x14, Access.RW, "Least output.", width=20, signed=True, reset=-(1 << 19)),
            output("high", 0x18, Access.RW, "Greatest output.", width=20, signed=True, reset=(1 << 19) - 1),
            output("slew", 0x1C, Access.RW, "Greatest change of the integral in one sample, Q10.12.", width=22, reset=(1 << 22) - 1, scale=2**-12),
            Register("output", 0x20, Access.RO, "Present output, Q20.12.", signed=True, unit=unit, quantity=quantity, scale=2**-12),
            Register("error", 0x24, Access.RO, "Present error, Q6.12.", width=18, signed=True, unit="log2", scale=2**-12),
            Register("saturated", 0x28, Access.RO, "1 if the last sample that was used asked for an output beyond low or high.", width=1),
            Register("engaged", 0x2C, Access.RO, "1 while the controller drives: armed, ON written since, nothing holds it.", width=1),
            Register("channel", 0x30, Access.RW, "Converter whose samples are used.", width=1, maximum=CHANNELS - 1),
            Register(
                "setpoint_step", 0x34, Access.RW, "Greatest change of the setpoint in a sample, Q6.24.", width=30, reset=(1 << 30) - 1, minimum=1,
                unit="log2(LSB)", scale=2**-24,
            ),
            Register("setpoint_now", 0x38, Access.RO, "Setpoint in force, Q6.12.", width=18, signed=True, unit="log2(LSB)", scale=2**-12),
            output(
                "hold_height", 0x3C, Access.RW, "HOLD: displacement from where the controller stopped, Q20.12; 0 again with ON.", signed=True,
                scale=2**-12,
            ),
            output(
                "hold_step", 0x40, Access.RW, "HOLD: greatest change of the displacement in a sample, Q19.12.", width=31, reset=1 << 12, minimum=1,
                scale=2**-12,
            ),
            output("excitation", 0x44, Access.RW, "Amplitude of the square wave that is added to the output, Q12.12.", width=24, scale=2**-12),
            Register("excitation_samples", 0x48, Access.RW, "Half a period of it; 0: none.", width=24, unit="samples"),
            Register("table_index", 0x4C, Access.RW, "Entry that table_entry goes to: code / 4096 + 128.", width=TABLE_BITS),
            Register("table_entry", 0x50, Access.WO, "Value at the segment's start (18 bits) and its rise over the segment (14 bits)."),
        ),
    )  # fmt: skip


BLOCK = _block(
    "feedback", 0x200, "PI controller from a sample to z. Positive z retracts; above the setpoint z rises.", "z", FeedbackMode.HOLD
)
BIAS_BLOCK = _block("bias_feedback", 0xF00, "A second controller, whose output is the bias unless it is OFF.", "bias", FeedbackMode.OFF)
