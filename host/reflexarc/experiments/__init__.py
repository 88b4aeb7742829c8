"""Jobs that a microscopist asks for."""
