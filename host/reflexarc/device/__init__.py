"""The board as the host sees it: transport, registers, controller."""

from reflexarc.device.controller import BlackBoxEntry, Controller, Trip

__all__ = ["BlackBoxEntry", "Controller", "Trip"]
