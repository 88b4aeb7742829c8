"""Feedback seen as a control loop: measured response, margins, gains."""

from reflexarc.control.loop import Gains, Margins, controller_response, loop_gain, margins
from reflexarc.control.response import Response, response_of
from reflexarc.control.tuning import Tuning, tune

__all__ = ["Gains", "Margins", "Response", "Tuning", "controller_response", "loop_gain", "margins", "response_of", "tune"]
