"""Distance feedback on the tunnelling current."""

import enum

from reflexarc.contract.registers import Access, Block, Register

ERROR_FRACTION_BITS = 12  # log2 of the sample's magnitude is unsigned Q5.12, the error signed Q6.12 in 18 bits
KP_FRACTION_BITS = 8  # Q10.8, DAC LSB per unit of error
KI_FRACTION_BITS = 12  # Q6.12, DAC LSB per unit of error and sample
TABLE_BITS = 8  # 256 segments of log2 on [1, 2), linear interpolation within


class FeedbackMode(enum.IntEnum):
    HOLD = 0  # z stays where it is; switching on goes on from there
    ON = 1


class Linearizer(enum.IntEnum):
    LOG = 0  # log2 of the magnitude: for a linear preamp, where current is exponential in distance
    LINEAR = 1  # magnitude / 2**14, so that full scale is 32: for a logarithmic preamp


BLOCK = Block(
    "feedback",
    0x200,
    "PI controller from the sample to z. Positive z retracts; a magnitude above the setpoint raises z.",
    (
        Register(
            "mode",
            0x00,
            Access.RW,
            "Hold or on. The interlock holds too; after arming, ON counts only once it is written again.",
            width=1,
            values=FeedbackMode,
        ),
        Register("linearizer", 0x04, Access.RW, "Logarithm or linear.", width=1, values=Linearizer),
        Register(
            "setpoint",
            0x08,
            Access.RW,
            "Setpoint after the linearizer, Q5.12.",
            width=18,
            unit="log2(LSB)",
            scale=2**-12,
            minimum=0,
            maximum=(20 << 12),
        ),
        Register(
            "kp", 0x0C, Access.RW, "Proportional gain, Q10.8.", width=18, maximum=(1 << 17) - 1, unit="m/log2", quantity="z", scale=2**-8
        ),
        Register(
            "ki",
            0x10,
            Access.RW,
            "Integral gain per sample, Q6.12.",
            width=18,
            maximum=(1 << 17) - 1,
            unit="m/log2",
            quantity="z",
            scale=2**-12,
        ),
        Register("z_min", 0x14, Access.RW, "Least z of the controller.", width=20, signed=True, reset=-(1 << 19), unit="m", quantity="z"),
        Register(
            "z_max", 0x18, Access.RW, "Greatest z of the controller.", width=20, signed=True, reset=(1 << 19) - 1, unit="m", quantity="z"
        ),
        Register(
            "slew",
            0x1C,
            Access.RW,
            "Greatest change of the integral in one sample, Q10.12.",
            width=22,
            reset=(1 << 22) - 1,
            unit="m",
            quantity="z",
            scale=2**-12,
        ),
        Register("z", 0x20, Access.RO, "Present output, Q20.12.", signed=True, unit="m", quantity="z", scale=2**-12),
        Register("error", 0x24, Access.RO, "Present error, Q6.12.", width=18, signed=True, unit="log2", scale=2**-12),
        Register("saturated", 0x28, Access.RO, "1 if the last sample that was used asked for a z beyond z_min or z_max.", width=1),
        Register("engaged", 0x2C, Access.RO, "1 while the controller drives z: armed, ON written since, nothing holds it.", width=1),
    ),
)
