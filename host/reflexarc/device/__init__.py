"""The board as the host sees it: transport, registers, controller."""

from reflexarc.device.controller import AsyncController
from reflexarc.device.facade import Controller
from reflexarc.device.recorder import BlackBoxEntry, Recording
from reflexarc.device.trip import Trip

__all__ = ["AsyncController", "BlackBoxEntry", "Controller", "Recording", "Trip"]
