"""Trajectory, sync and scan, joined as the core joins them: points in, positions and lines to other instruments out."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.scan import ScanState
from reflexarc_hw.blocks.scan import Scan
from reflexarc_hw.blocks.sync import LINES, Sync
from reflexarc_hw.blocks.trajectory import Trajectory
from reflexarc_hw.lib.bus import BankSignature
from reflexarc_hw.lib.formats import MARKER, POSITION


class ScanPath(wiring.Component):
    scan_bus: In(BankSignature())
    trajectory_bus: In(BankSignature())
    sync_bus: In(BankSignature())
    tick: In(1)
    pause: In(1)
    live: In(1)
    lines: In(LINES)
    x: Out(POSITION)
    y: Out(POSITION)
    z: Out(POSITION)
    marker: Out(MARKER)
    beam: Out(1)
    state: Out(ScanState)
    pixel: Out(1)
    external: Out(1)
    late: Out(1)
    starved: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.scan = scan = Scan()
        m.submodules.trajectory = trajectory = Trajectory()
        m.submodules.sync = sync = Sync()
        for name, block in {"scan": scan, "trajectory": trajectory, "sync": sync}.items():
            wiring.connect(m, wiring.flipped(getattr(self, f"{name}_bus")), block.bus)
        wiring.connect(m, scan.points, trajectory.points)
        m.d.comb += [
            scan.tick.eq(self.tick),
            scan.pause.eq(self.pause),
            scan.live.eq(self.live),
            scan.may_end.eq(sync.may_end),
            scan.may_start.eq(sync.may_start),
            scan.line_waits.eq(sync.line_waits),
            scan.late.eq(sync.late),
            trajectory.clear.eq(scan.aborted),
            #
            sync.tick.eq(self.tick),
            sync.lines.eq(self.lines),
            sync.pixel_start.eq(scan.pixel_start),
            sync.pixel_first.eq(self.tick & scan.marker.active & scan.marker.first),
            sync.pixel_over.eq(scan.pixel_over),
            sync.waiting.eq(scan.waiting),
            #
            self.x.eq(scan.x),
            self.y.eq(scan.y),
            self.z.eq(scan.z),
            self.marker.eq(scan.marker),
            self.beam.eq(scan.beam),
            self.state.eq(scan.state),
            self.pixel.eq(sync.pixel),
            self.external.eq(sync.external),
            self.late.eq(sync.late),
            self.starved.eq(scan.starved),
        ]
        return m
