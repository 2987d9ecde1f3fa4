# SPDX-License-Identifier: Apache-2.0
"""Makes one call of a function fail."""


def failing(monkeypatch, owner, name, number=2, error=None):
    """Call `number`, from 1, of `owner.name` raises `error` (by default a KeyError); the others do what they did."""
    calls, usual = [], getattr(owner, name)

    def call(*arguments, **options):
        calls.append(arguments)
        if len(calls) == number:
            raise error or KeyError("of our own")
        return usual(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
