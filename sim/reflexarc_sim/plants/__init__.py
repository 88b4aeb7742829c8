"""What the controller controls: microscopes, simulated sample by sample."""
