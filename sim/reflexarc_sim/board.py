"""The board process: a twin behind a socket, as a real board is behind its link.

One client at a time. Gateware time runs on whether a client is there or not; a client may ask for lockstep, in which time runs only as it
asks, so that a run repeats to the bit. When it goes, time runs freely again, and the heartbeat's time-out does what it is for.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from reflexarc.contract import fingerprint
from reflexarc.contract.blocks import interlock
from reflexarc.contract.blocks.interlock import InterlockCommand, InterlockState
from reflexarc.contract.link import OPERATION, OPERATIONS_MAX, BusOperation, Frame, FrameCounter, FrameParser, Kind, LinkError, Pace
from reflexarc.contract.model import LANES
from reflexarc_hw.platforms.board import FULL
from reflexarc_hw.platforms.timing import RATES, Rate

from .build import BuildError, build
from .instrument import scanner_of, stm_for
from .plants.parameters_file import load_parameters
from .plants.stm import StmParameters, StmPlant
from .specimens import Specimen, SpecimenError, load
from .twin import CAPTURE, EVENTS, Twin

CHUNK_CYCLES = 40_000  # between two looks at the socket: about 10 ms of wall time
SEND_LIMIT = (
    8 << 20
)  # bytes waiting for a slow client; beyond, packets stay in the twin and then in the gateware, which counts what it loses
RECEIVE_SIZE = 1 << 16
FAULTS = ("rise", "estop", "adc_dead", "adc", "dac_stuck", "lines", "monitor", "flip", "underflow", "event", "instruments")
INSTRUMENTS = ("camera_delay_cycles", "camera_exposure_cycles", "pixel_clock_cycles", "line_trigger_cycles")


class RequestError(ValueError):
    """A request that can't be done; the client gets the line."""


class Client:
    """The connected client: its socket, its frames in and out."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.parser = FrameParser()
        self.counter = FrameCounter()
        self.outgoing = bytearray()
        self.name = "a client that has not said who it is"
        self.greeted = False
        self.pace = Pace.FREE

    def send(self, kind: Kind, payload: bytes, request_id: int = 0) -> None:
        self.outgoing += self.counter.pack(kind, payload, request_id)

    def flush(self) -> None:
        """Send what the socket takes now."""
        while self.outgoing:
            try:
                sent = self.connection.send(self.outgoing)
            except BlockingIOError:
                return
            del self.outgoing[:sent]


class Board:
    """A twin and its server."""

    def __init__(
        self,
        twin: Twin,
        specimen: Specimen,
        listener: socket.socket,
        idle_exit_s: float | None,
        first_pace: Pace = Pace.FREE,
        name: str = "twin",
    ) -> None:
        self._name = name
        self._twin = twin
        self._specimen = specimen
        self._listener = listener
        self._idle_exit_s = idle_exit_s
        self._idle_since = time.monotonic()
        self._client: Client | None = None
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._busy_s = 0.0  # wall time spent in the twin
        self._stop = False
        self._next_pace = first_pace  # of the next client; lockstep only for the first, for whom time waits

    def stop(self) -> None:
        self._stop = True

    def serve(self) -> None:
        """Until stopped, or idle for ``idle_exit_s`` without a client."""
        while not self._stop:
            client = self._client
            pace = self._next_pace if client is None else client.pace
            if client is not None:
                # What the socket did not take at once goes out when it does: a client in lockstep asks for nothing until it has its reply.
                interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outgoing else 0)
                self._selector.modify(client.connection, interest, client)
            # In lockstep nothing happens until the client asks: wait for it instead of turning round.
            for key, events in self._selector.select(0.2 if pace is Pace.LOCKSTEP else 0):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data is self._client:
                    if events & selectors.EVENT_WRITE:
                        self._flush()
                    if events & selectors.EVENT_READ:
                        self._receive()
                elif self._client is not None:
                    self._visit(key.data)
                else:  # the client that it waited for is gone
                    self._take(key.data)
                    self._receive()
            client = self._client
            if (self._next_pace if client is None else client.pace) is Pace.FREE:
                self._run(CHUNK_CYCLES)
            if client is None and self._idle_exit_s is not None and time.monotonic() - self._idle_since > self._idle_exit_s:
                return

    def _run(self, cycles: int) -> None:
        began = time.perf_counter()
        self._twin.run(cycles)
        self._busy_s += time.perf_counter() - began
        self._forward()

    def _forward(self) -> None:
        """Packets from the twin to the client."""
        client = self._client
        if client is None or not client.greeted:
            return
        try:
            for stream, kind in ((CAPTURE, Kind.CAPTURE), (EVENTS, Kind.EVENT)):
                while len(client.outgoing) < SEND_LIMIT and (packet := self._twin.packet(stream)) is not None:
                    client.send(kind, packet)
            client.flush()
        except OSError:
            self._drop()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        client = Client(connection)
        self._selector.register(connection, selectors.EVENT_READ, client)
        if self._client is not None:
            return  # a visitor, who may trip and no more
        self._take(client)
        for stream in (CAPTURE, EVENTS):  # what nobody was there to take belongs to no one
            while self._twin.packet(stream) is not None:
                pass

    def _take(self, client: Client) -> None:
        """Make ``client`` the one client."""
        client.pace, self._next_pace = self._next_pace, Pace.FREE
        self._client = client

    def _visit(self, visitor: Client) -> None:
        """Beside the one client anyone may trip; everyone else hears who has the board."""
        assert self._client is not None
        try:
            data = visitor.connection.recv(RECEIVE_SIZE)
            frames = visitor.parser.feed(data)
            if data and not frames:
                return
            for frame in frames[:1]:
                if frame.kind is Kind.TRIP:
                    visitor.send(Kind.REPLY, self._trip(), frame.request_id)
                else:
                    refusal = f"the board is in use by {self._client.name}; one client at a time: stop it or wait"
                    visitor.send(Kind.ERROR, refusal.encode(), frame.request_id)
            visitor.flush()
        except (OSError, LinkError):
            pass
        self._selector.unregister(visitor.connection)
        visitor.connection.close()

    def _trip(self) -> bytes:
        """Trip the interlock; what became of it."""
        state, command = interlock.BLOCK.address("state"), interlock.BLOCK.address("command")
        results = self._twin.bus(
            [(BusOperation.READ, state, 0), (BusOperation.WRITE, command, InterlockCommand.TRIP), (BusOperation.READ, state, 0)]
        )
        before, after = (InterlockState(results[index][1]) for index in (0, 2))
        note = "" if before is InterlockState.ARMED else " (outputs were safe already)"
        return f"{before.name.lower()} -> {after.name.lower()}{note}".encode()

    def _drop(self) -> None:
        client = self._client
        if client is not None:
            self._selector.unregister(client.connection)
            client.connection.close()
            self._client = None
            self._idle_since = time.monotonic()

    def _receive(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            data = client.connection.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop()
            return
        try:
            for frame in client.parser.feed(data):
                self._answer(client, frame)
                if self._client is None:
                    return
        except LinkError as error:
            client.send(Kind.ERROR, str(error).encode())
            with contextlib.suppress(OSError):
                client.flush()
            self._drop()

    def _answer(self, client: Client, frame: Frame) -> None:
        try:
            if frame.kind is not Kind.HELLO and frame.kind is not Kind.TRIP and not client.greeted:
                raise RequestError("the first frame must be HELLO")
            client.send(Kind.REPLY, self._handle(client, frame), frame.request_id)
        except RequestError as error:
            client.send(Kind.ERROR, str(error).encode(), frame.request_id)
        self._flush()
        self._forward()

    def _flush(self) -> None:
        if self._client is None:
            return
        try:
            self._client.flush()
        except OSError:
            self._drop()

    def _handle(self, client: Client, frame: Frame) -> bytes:
        payload = frame.payload
        match frame.kind:
            case Kind.HELLO:
                client.name = str(_json(payload).get("client", "a client without a name"))[:200]
                client.greeted = True
                return json.dumps(self._welcome()).encode()
            case Kind.BUS:
                return self._bus(payload)
            case Kind.TRIP:
                return self._trip()
            case Kind.PACE:
                if payload not in (b"\0", b"\1"):
                    raise RequestError("PACE takes one byte, 0 (free) or 1 (lockstep)")
                client.pace = Pace(payload[0])
                return b""
            case Kind.ADVANCE:
                return self._advance(client, payload)
            case Kind.INJECT:
                return self._inject(_json(payload))
            case Kind.TRUTH:
                return self._truth(_json(payload))
        raise RequestError(f"a client can't send {frame.kind.name}")

    def _welcome(self) -> dict[str, Any]:
        rate = self._twin.rate
        return {
            "platform": "twin", "board": self._name, "rate": rate.name, "cycles_per_sample": rate.cycles_per_sample, "adc_cycles": rate.adc_cycles,
            "dac_cycles": rate.dac_cycles, "pid": os.getpid(), "specimen": self._specimen.name, "contract": fingerprint.describe(),
            "specimen_size_m": [self._specimen.size_x_m, self._specimen.size_y_m],
            "scanner": scanner_of(self._twin.plant.parameters),
        }  # fmt: skip

    def _bus(self, payload: bytes) -> bytes:
        if len(payload) % OPERATION.size or len(payload) > OPERATIONS_MAX * OPERATION.size:
            raise RequestError(f"{len(payload)} bytes are not up to {OPERATIONS_MAX} bus operations of {OPERATION.size} bytes")
        operations = []
        for kind, address, value in OPERATION.iter_unpack(payload):
            if kind not in (BusOperation.READ, BusOperation.WRITE):
                raise RequestError(f"bus operation {kind} is unknown")
            operations.append((BusOperation(kind), address, value))
        results = self._twin.bus(operations)
        return b"".join(
            OPERATION.pack(status, address, value) for (status, value), (_, address, _) in zip(results, operations, strict=True)
        )

    def _advance(self, client: Client, payload: bytes) -> bytes:
        if client.pace is not Pace.LOCKSTEP or len(payload) != 8:
            raise RequestError("ADVANCE takes a 64-bit number of cycles and needs lockstep")
        left: int = struct.unpack("<Q", payload)[0]
        while left and self._client is not None:
            step = min(left, CHUNK_CYCLES)
            self._run(step)
            left -= step
        return struct.pack("<Q", self._twin.cycle)

    def _inject(self, request: dict[str, Any]) -> bytes:
        """Faults and provocations: of the plant, the converters and the wiring."""
        try:
            match request.get("fault"):
                case "rise":
                    self._twin.plant.provoke_rise(float(request["speed_m_per_s"]), float(request["height_m"]))
                case "estop":
                    self._twin.set_estop(_bool(request["closed"]))
                case "adc_dead":
                    self._twin.set_adc_fault(0, dead=_bool(request["dead"]))
                case "adc":
                    masks = {name: int(request.get(name, 0)) for name in ("stuck_low", "stuck_high", "noise")}
                    converter = int(request["converter"])
                    if converter not in (0, 1) or not all(0 <= mask < 1 << 20 for mask in masks.values()):
                        raise ValueError("fault 'adc': converter is 0 or 1, stuck_low, stuck_high and noise are masks of 20 bits")
                    dead, frozen = _bool(request.get("dead", False)), _bool(request.get("frozen", False))
                    low, high, noise = (masks[name] for name in ("stuck_low", "stuck_high", "noise"))
                    self._twin.set_adc_fault(converter, dead=dead, frozen=frozen, stuck_low=low, stuck_high=high, noise=noise)
                case "dac_stuck":
                    channel = int(request["channel"])
                    if channel not in range(4):
                        raise ValueError("fault 'dac_stuck': channel is 0 to 3 (x, y, z, bias)")
                    self._twin.set_dac_stuck(channel, _bool(request["stuck"]))
                case "lines":
                    self._twin.set_lines(int(request.get("ready", 3)) & 3, int(request.get("gain", 0)) & 15)
                case "instruments":
                    values = {name: int(request[name]) for name in INSTRUMENTS if name in request}
                    pulses = tuple(int(value) for value in request.get("pulse_cycles", (0, 0)))
                    if len(pulses) != 2 or not all(0 <= value < 1 << 31 for value in (*values.values(), *pulses)):
                        raise ValueError("fault 'instruments': cycles are 0 to 2^31 - 1, pulse_cycles are two")
                    self._twin.set_instruments(**values, pulse_cycles=(pulses[0], pulses[1]))
                case "monitor":
                    self._twin.set_monitor(float(request["volts"]))
                case "flip":
                    self._twin.flip(str(request["register"]), int(request["bit"]))
                case "underflow":
                    self._twin.set_underflow(_bool(request["underflow"]))
                case "event":
                    self._twin.event(int(request["class_id"]) & 255)
                case other:
                    raise RequestError(f"fault {other!r} is unknown; known are {', '.join(FAULTS)}")
        except (KeyError, TypeError) as error:
            raise RequestError(f"fault {request.get('fault')!r}: {error} is missing or of the wrong kind") from None
        except ValueError as error:
            raise RequestError(str(error)) from None
        return b""

    def _truth(self, request: dict[str, Any]) -> bytes:
        """What only the plant knows: with ``x_m``, ``y_m``, ``time_s`` the surface there and then, with ``drift_at_s`` how far it had drifted,
        both as doubles; else a summary."""
        plant = self._twin.plant
        if "drift_at_s" in request:
            try:
                return plant.drift_m(np.asarray(request["drift_at_s"], dtype=np.float64)).astype("<f8").tobytes()
            except (TypeError, ValueError) as error:
                raise RequestError(f"drift_at_s wants times: {error}") from None
        if "x_m" in request:
            try:
                x_m, y_m = (np.asarray(request[key], dtype=np.float64) for key in ("x_m", "y_m"))
                when_s = np.asarray(request["time_s"], dtype=np.float64)
                surface = plant.surface_at(x_m, y_m, when_s)
                return np.broadcast_to(surface, x_m.shape).astype("<f8").tobytes()
            except (KeyError, TypeError, ValueError) as error:
                raise RequestError(f"surface wants x_m, y_m and time_s of one shape: {error}") from None
        return json.dumps(
            {
                "contacts": plant.contacts, "contact_depth_m": plant.contact_depth_m, "gap_m": plant.gap_m, "surface_m": plant.surface_m,
                "tip_z_m": plant.tip_z_m, "current_A": plant.current_A, "cycle": self._twin.cycle, "samples": self._twin.samples,
                "busy_s": self._busy_s, "trip_cycles": self._twin.trip_times.as_dict(), "live": self._twin.live,
                "blanked": self._twin.blanked, "motor_steps": self._twin.motor_steps, "approach_steps": self._twin.approach_steps,
                "camera_frames": self._twin.camera_frames, "update_cycles": self._twin.update_cycles,
                "bias_cycle": self._twin.bias_cycle,
                "gate_lines": self._twin.gate_lines, "gate_line_rises": self._twin.gate_line_rises,
                "response": {
                    "decay_per_m": plant.parameters.decay_per_m, "z_resonance_Hz": plant.parameters.z_resonance_Hz,
                    "z_quality": plant.parameters.z_quality, "preamp_bandwidth_Hz": plant.parameters.preamp_bandwidth_Hz,
                },
                "adatoms": plant.adatoms_m.tolist(), "adatom_hops": plant.adatom_hops,
                "features": [[f.x_m, f.y_m, f.kind] for f in self._specimen.features],
            }
        ).encode()  # fmt: skip


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _json(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload or b"{}")
    except ValueError as error:
        raise RequestError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RequestError("a JSON object is expected")
    return value


def listen(path: Path) -> socket.socket:
    """A listening Unix socket at ``path``; a socket that nobody answers at is replaced, a live one refused with OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        if not path.is_socket():
            raise OSError(f"{path} is no socket; give another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                path.unlink()
            else:
                raise OSError(f"another board already listens at {path}")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise OSError(f"socket {path}: {error.strerror or error}; give another path") from None
    listener.listen(4)
    return listener


def make_twin(rate: Rate, specimen: Specimen, seed: int, parameters: StmParameters | None = None, lanes: int = 0) -> Twin:
    """A twin with an STM, by default with a scanner that suits the specimen and without the detector's engine."""
    return Twin(build(rate, lanes), rate, StmPlant(specimen, parameters or stm_for(specimen), seed=seed))


class Parser(argparse.ArgumentParser):
    """Its errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"reflexarc-board: {message} (see: reflexarc-board --help)\n")


def main() -> int:
    parser = Parser(description="A ReflexArc twin behind a socket: the compiled gateware, its converters and an STM.")
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to listen at")
    parser.add_argument("--specimen", default="au111", help="'au111', 'graphene' or a file: .sxm, .ibw, .gwy, .nc, .h5, .npy, .png, .tif")
    parser.add_argument("--size", type=float, nargs="+", help="width, or width and height, in metres, of a specimen without its own scale")
    parser.add_argument("--height", type=float, help="of an image: from its darkest to its brightest point, in metres")
    parser.add_argument("--channel", help="of a file with several: the one that is the topography")
    parser.add_argument("--plant", type=Path, help="TOML file with the STM's parameters; see docs/guide/plant.md")
    parser.add_argument("--seed", type=int, default=1, help="of noise and generated specimens; a run repeats with its seed")
    parser.add_argument(
        "--rate",
        choices=sorted(RATES),
        default="compressed",
        help="'true' counts cycles as the board does, 'compressed' is 3.5 times faster",
    )
    parser.add_argument(
        "--lanes", type=int, choices=(0, *LANES), default=FULL.lanes,
        help="of the detector's engine, which takes 16 products a lane and cycle; 0: without one, which is faster",
    )  # fmt: skip
    parser.add_argument(
        "--hold", action="store_true", help="time waits for the first client, which begins in lockstep: for runs that repeat"
    )
    parser.add_argument("--name", default="twin", help="name of the instrument; its commissioning record goes by it")
    parser.add_argument("--idle-exit", type=float, metavar="SECONDS", help="end when no client was there for so long")
    arguments = parser.parse_args()
    try:
        if arguments.idle_exit is not None and not arguments.idle_exit >= 0:
            raise ValueError(f"--idle-exit {arguments.idle_exit:g} is not possible; accepted: seconds, 0 or more")
        size = arguments.size
        if size is not None and len(size) > 2:
            raise ValueError(f"--size takes a width, or a width and a height, not {len(size)} numbers")
        size_m = size if size is None else size[0] if len(size) == 1 else (size[0], size[1])
        specimen = load(arguments.specimen, size_m=size_m, seed=arguments.seed, channel=arguments.channel, height_m=arguments.height)
        parameters = stm_for(specimen)
        if arguments.plant is not None:
            parameters = load_parameters(arguments.plant, parameters)
        twin = make_twin(RATES[arguments.rate], specimen, arguments.seed, parameters, arguments.lanes)
        listener = listen(arguments.socket)
    except (SpecimenError, BuildError, ValueError, OSError) as error:
        print(f"reflexarc-board: {error}", file=sys.stderr)
        return 2
    pace = Pace.LOCKSTEP if arguments.hold else Pace.FREE
    board = Board(twin, specimen, listener, arguments.idle_exit, pace, arguments.name)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: board.stop())
    print(f"ready at {arguments.socket}", file=sys.stderr, flush=True)
    try:
        board.serve()
    finally:
        arguments.socket.unlink(missing_ok=True)
        twin.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
