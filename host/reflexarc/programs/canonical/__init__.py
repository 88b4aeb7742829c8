"""The canonical form: one line of symbols in which every line that parses is a safe program, as every SELFIES is a molecule (M. Krenn et
al., Mach. Learn.: Sci. Technol. 1, 045024 (2020)), so that search and learning can make programs of it.

    [sample:current:mean:64][hold:50us][repeat:20][pulse:2.2V:10us][sample:current:mean:64][leave:<:0.6][end][end][emit:%1]

`decode` derives a program symbol by symbol. What makes no sense where it stands is left out, numbers are clipped to what is allowed there,
blocks that are left open end with the line, and a block that can't begin gives way to what is in it. Beside the verifier's limits there are
stricter ones, for what the verifier does not look at:

- Current, range of bias and setpoint, heights and speeds are bounded over the whole program, in whatever order things come.
- While the feedback is on the bias keeps its sign. While it is held, 50 ms at most, the tip stays where it is, nobody leaves and nothing is
  awaited; before it goes on z is back where it was held, and the bias has been one that the feedback was on with for 20 us.
- Each repeat has a count, and all that is done takes ``longest_s`` at most, the tip's way home with it.
- Registers other than bias and setpoint are not written, and no scan is started.

What `verify` finds all the same, risks too, is left out at the end. A line of which nothing is left is a wait of 1 us.
"""

from reflexarc.programs.canonical.form import LONGEST_S, decode, encode
from reflexarc.programs.canonical.symbols import CanonicalError, alphabet

__all__ = ["LONGEST_S", "CanonicalError", "alphabet", "decode", "encode"]
