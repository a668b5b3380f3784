"""The sandbox of supervised commands: :mod:`.probe` finds out what works, :mod:`.view` says what a command sees."""

from .home import HomeRules, discard, home_rules, prepare_home
from .probe import Sandbox, probe
from .view import GitView, View, words

__all__ = ["GitView", "HomeRules", "Sandbox", "View", "discard", "home_rules", "prepare_home", "probe", "words"]
