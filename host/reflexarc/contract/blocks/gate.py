"""The output gate: the only driver of outputs."""

from reflexarc.contract.registers import Access, Block, Register

CODE_MAX = (1 << 19) - 1
CODE_MIN = -(1 << 19)

BLOCK = Block(
    "gate",
    0x400,
    "The only driver of outputs. Live while armed; otherwise z ramps to the withdrawn rail, x and y hold, the beam is blanked, and the bias "
    "holds or follows the reaction of the trip's cause.",
    (
        Register(
            "bias",
            0x00,
            Access.RW,
            "Bias to drive while armed, unless the bias controller does.",
            width=20,
            signed=True,
            unit="V",
            quantity="bias",
        ),
        Register(
            "retract_step",
            0x04,
            Access.RW,
            "Step of z per sample of the withdrawal, Q12.12.",
            width=24,
            reset=60 << 12,
            minimum=1 << 12,  # the whole range within 2**20 samples, 0.6 s
            locked=True,
            unit="m",
            quantity="z",
            scale=2**-12,
        ),
        Register("x_code", 0x08, Access.RO, "Code at the x converter.", width=20, signed=True, unit="m", quantity="x"),
        Register("y_code", 0x0C, Access.RO, "Code at the y converter.", width=20, signed=True, unit="m", quantity="y"),
        Register("z_code", 0x10, Access.RO, "Code at the z converter.", width=20, signed=True, reset=CODE_MAX, unit="m", quantity="z"),
        Register("bias_code", 0x14, Access.RO, "Code at the bias converter.", width=20, signed=True, unit="V", quantity="bias"),
        Register("blanked", 0x18, Access.RO, "1 while the beam is blanked.", width=1, reset=1),
        Register("withdrawn", 0x1C, Access.RO, "1 while z stands at the withdrawn rail.", width=1, reset=1),
        Register(
            "bias_step",
            0x20,
            Access.RW,
            "Step of the bias per sample period on its way to 0, Q8.12.",
            width=20,
            reset=1 << 12,
            minimum=1,
            locked=True,
            unit="V",
            quantity="bias",
            scale=2**-12,
        ),
        Register("retreat_steps", 0x24, Access.RW, "Steps of the coarse motor away from the sample.", width=16, locked=True, unit="steps"),
        Register(
            "retreat_period",
            0x28,
            Access.RW,
            "Sample periods for half a step of the coarse motor, either way.",
            width=20,
            reset=900,
            minimum=1,
            locked=True,
            unit="samples",
        ),
        Register("retreat_left", 0x2C, Access.RO, "Steps of the retreat still to come.", width=16, unit="steps"),
        Register("trigger", 0x30, Access.RO, "1 while the trigger output is high.", width=1),
        Register("approach", 0x34, Access.WO, "Steps towards the sample, done while live and withdrawn.", width=16, unit="steps"),
        Register("approach_left", 0x38, Access.RO, "Steps of the approach still to come.", width=16, unit="steps"),
    ),
)
