"""The configuration: one frozen model, and how file, environment and flags become one."""
