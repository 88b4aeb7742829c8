"""What the detectors share: scans simulated with the project's plant, views as the gateware makes them, files, scores. See models/README.md."""
