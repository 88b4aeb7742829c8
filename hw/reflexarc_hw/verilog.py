"""Verilog of the core, for Verilator and for synthesis."""

import argparse
import sys

from amaranth.back import verilog

from reflexarc_hw.core import Core
from reflexarc_hw.platforms.timing import RATES, Rate


def core_verilog(rate: Rate) -> str:
    """Verilog text of ``Core(rate)``, module ``core``."""
    return verilog.convert(Core(rate), name="core", emit_src=False)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the Verilog of the controller core to standard output.")
    parser.add_argument("rate", choices=sorted(RATES))
    sys.stdout.write(core_verilog(RATES[parser.parse_args().rate]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
