"""Scan files and output folders."""

from reflexarc.contract.packets import Channel, Direction
from reflexarc.store.blackbox_file import BlackBoxFile, read_blackbox_file, write_blackbox_file
from reflexarc.store.errors import StoreError
from reflexarc.store.folder import prepare_output_folder
from reflexarc.store.records import EXTRA_CHANNELS, BlackBox, Channels, EventRow, ScanData, ScanGeometry
from reflexarc.store.scan_file import ScanWriter, read_scan

__all__ = [
    "EXTRA_CHANNELS",
    "BlackBox",
    "BlackBoxFile",
    "Channel",
    "Channels",
    "Direction",
    "EventRow",
    "ScanData",
    "ScanGeometry",
    "ScanWriter",
    "StoreError",
    "prepare_output_folder",
    "read_blackbox_file",
    "read_scan",
    "write_blackbox_file",
]
