"""A guard that watches a run: it warns where the model cannot know, keeps such structures for labelling, can stop."""

from atomlens.simulate.guard.alarm import Alarm
from atomlens.simulate.guard.config import GuardConfig
from atomlens.simulate.guard.guard import Guard

__all__ = ["Alarm", "Guard", "GuardConfig"]
