"""The configuration: one frozen model, read from file, environment and flags.

Modules:

    model.py            the whole configuration, and what must hold between settings
    login_settings.py   an institution's login, and the user of its calls
    listeners.py        listeners, what they leave out filled in
    fields.py           types of settings that are pydantic's
    loader.py           reads and merges the sources, explains what is wrong

The sections are declared by their components; ``proxy.settings`` says how.
"""
