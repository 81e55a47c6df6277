"""The configuration: one frozen model, read from file, environment and flags.

Modules:

    model.py            the whole configuration, and the rules between settings
    login_settings.py   an institution's login, and the user of its calls
    origin_config.py    the bank's addresses, and institutions with their own
    listener_settings.py  listeners, with omitted settings filled in
    setting_types.py    types of settings that need pydantic
    loader.py           reads and merges the sources
    loosened.py         names what a changed configuration permits more
    examples.py         the settings by name, with examples
    explain.py          explains errors

The sections are declared by their components; ``proxy.settings`` says how.
"""
