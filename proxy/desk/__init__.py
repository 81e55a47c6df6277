"""What a person at one machine asks for: set up, examine, watch, show."""
