"""`trimaran replay`: a recording of a virtual router, played again."""

from pathlib import Path
from typing import Any

from trimaran.node.recording import RecordingError, Step, replay
from trimaran.system.errors import CannotRunError


def replay_file(path: Path) -> bool:
    """Print the dialogue; False when the machine answers otherwise than it did. Raises
    CannotRunError."""
    began: float | None = None
    same = True
    try:
        with path.open(encoding="utf-8") as lines:
            for step in replay(lines):
                began = step.at if began is None else began
                print(f"{step.at - began:10.3f} >> {step.input} {_said(step)}")
                for effect in step.effects:
                    print(f"{'':10} << {_effect(effect)}")
                if not step.same:
                    same = False
                    for effect in step.recorded:
                        print(f"{'':10} -- recorded: {_effect(effect)}")
    except (OSError, UnicodeError) as error:
        raise CannotRunError(f"{path}: cannot be read: {error}", "name a recording") from error
    except RecordingError as error:
        mend = "give a file that `trimaran run --record DIR` wrote"
        raise CannotRunError(f"{path}: {error}", mend) from error
    print("as recorded" if same else "the answers differ from what was recorded")
    return same


def _said(step: Step) -> str:
    return ", ".join(str(each) for each in step.arguments if not isinstance(each, float))


def _effect(effect: dict[str, Any]) -> str:
    if effect["effect"] == "Event":
        return f"{effect['message']} ({effect['cause']})"
    rest = ", ".join(f"{key} {value}" for key, value in effect.items() if key != "effect")
    return f"{effect['effect']} {rest}".rstrip()
