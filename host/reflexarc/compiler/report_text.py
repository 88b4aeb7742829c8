"""The report of a deployment in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 13


def report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    yield _line("model", f"{report['name']}, id {report['model_id']}" + (f": {', '.join(report['labels'])}" if report["labels"] else ""))
    yield _line("tier", f"{report['tier']}: {report['tier_reason']}")
    yield _line("view", report["view"]["text"])
    yield _line("events", _head(report["head"]))
    for note in report["notes"]:
        yield _line("note", note)
    if report["layers"]:
        yield ""
        yield from _layers(report["layers"])
        yield ""
    if report["memory"]:
        yield _line(
            "memory", ", ".join(f"{use['name']} {use['used']:,} of {use['available']:,}" for use in report["memory"] if use["used"])
        )
    if report.get("line_pixels"):
        yield _line("lines", f"of up to {report['line_pixels']:,} pixels")
    if report["image"]:
        image = report["image"]
        yield _line("image", f"{image['bytes']:,} bytes, CRC-32 {image['crc32']}, SHA-256 {image['sha256']}")
    yield from _exactness(report)
    if report["cycles_predicted"] is not None:
        yield _line("cycles", _cycles(report, "cycles", "latency_us", "all inputs there"))
        yield _line("", _cycles(report, "cycles_after_last", "latency_after_last_us", "after the last input"))
        if report["jitter_cycles"] is not None:
            yield _line("", f"jitter {report['jitter_cycles']} over {report['check']['inputs']:,} inputs")
    if report["edge"] is not None:
        yield _line(
            "evaluation", f"{report['edge']['evaluation_us']:.3g} us by onnxruntime on this computer, without the way there and back"
        )
    yield from _boards(report["boards"])
    if accuracy := report["accuracy"]:
        text = f"{accuracy['before']:.2%} before, {accuracy['after']:.2%} after quantization, {accuracy['inputs']:,} inputs of {accuracy['of']}"
        yield _line("accuracy", f"{text}; another class for {accuracy['other_class']}")
    if report["deploy_s"] is not None:
        board = f" ({report['deploy_board_s'] * 1e3:.3g} ms of the board's time)" if report.get("deploy_board_s") is not None else ""
        yield _line("deployed in", f"{report['deploy_s']:.3g} s of board and link{board}, compiled in {report['compile_s']:.3g} s")
    else:
        yield _line("compiled in", f"{report['compile_s']:.3g} s")
    if tried := report.get("trial"):
        told = f"{tried['pixels']:,} pixels, lost {tried['pixels_lost']}; {tried['evaluations']:,} evaluations, missed {tried['missed']}"
        verdict = f"; a verdict {tried['cycles_to_verdict']:,} cycles after its last input" if tried.get("cycles_to_verdict") else ""
        yield _line("scan", f"{told}; {tried['events']} events{verdict}")


def _line(name: str, text: str) -> str:
    return f"{name:{WIDTH}}{text}"


def _head(head: Mapping[str, Any]) -> str:
    if not head["eventful"] and head["disagreement_class"] is None:
        return "none: no class makes one"
    parts = [", ".join(head["eventful"]) or "no class"]
    if head["least_margin"]:
        parts.append(f"from a margin of {head['least_margin']} steps up")
    elif head["margin"]:
        parts.append(f"from a margin of {head['margin']:g} up")
    if head["members"] > 1:
        parts.append(f"{head['members']} members" + (", whose disagreement is one" if head["disagreement_class"] is not None else ""))
    if head["radius"]:
        parts.append(f"none within {head['radius']} pixels and lines of another")
    return "; ".join(parts)


def _layers(layers: list[Mapping[str, Any]]) -> Iterator[str]:
    width = max(len("layer"), *(len(layer["name"]) for layer in layers))
    yield f"{'layer':{width}}  {'operator':12}  cycles  steps  products   used  weights  output  sums"
    for layer in layers:
        sums = "" if layer["sum_least"] is None else f"{layer['sum_least']:,} to {layer['sum_greatest']:,}"
        yield (
            f"{layer['name']:{width}}  {layer['op']:12}  {layer['cycles']:6,}  {layer['steps']:5,}  {layer['products']:8,}  {layer['utilisation']:5.1%}"
            f"  {layer['weight_bytes']:7,}  {layer['output_bytes']:6,}  {sums}"
        )


def _exactness(report: Mapping[str, Any]) -> Iterator[str]:
    if report["thresholds_total"]:
        yield _line("thresholds", f"{report['thresholds_proven']:,} of {report['thresholds_total']:,} proven equal to onnxruntime's")
    if canonical := report["canonical"]:
        of = "random inputs" if canonical["random"] else "of the calibration's inputs"
        text = f"{canonical['differences']} of {canonical['outputs']:,} outputs are not the quantized model's own, by {canonical['largest']} at most"
        yield _line("canonical", f"{text}; {canonical['decisions']} other classes; {canonical['inputs']} {of}")
    if report["check"]:
        how = "integer reference" if report["check"]["rtl_against_onnxruntime"] is None else "RTL and integer reference"
        text = f"{report['differences']} of {report['compared']:,} outputs, {report['check']['inputs']:,} random inputs"
        yield _line("differences", f"{text}: {how} against onnxruntime")


def _cycles(report: Mapping[str, Any], kind: str, latency: str, when: str) -> str:
    measured = report[f"{kind}_measured"]
    said = "predicted" if measured is None else f"predicted, {measured:,} measured"
    return f"{report[f'{kind}_predicted']:,} {said}, {when}: {report[latency]:.2f} us at {report['clock_MHz']:g} MHz"


def _boards(boards: list[Mapping[str, Any]]) -> Iterator[str]:
    for number, board in enumerate(boards):
        text = f"{board['board']}, {board['products_a_cycle']} products a cycle at {board['clock_MHz']:g} MHz: "
        if board["fits"]:
            text += f"{board['latency_us']:.2f} us, {board['latency_after_last_us']:.2f} us after the last input"
        else:
            text += board["why"]
        yield _line("boards" if number == 0 else "", text)
