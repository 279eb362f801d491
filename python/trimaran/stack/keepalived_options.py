"""Options of keepalived's blocks: by name, converted, with a note or a problem where they stand."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import RefusedError, Walk
from trimaran.stack.keepalived_directives import CHECKERS

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Options = dict[str, Statement]

_ALIASES = {
    "lvs_id": "router_id",
    "nb_get_retry": "retry",
    "lvs_sched": "lb_algo",
    "lvs_method": "lb_kind",
    "nopreempt": "preempt",
    "vrrp_lower_prio_no_advert": "lower_prio_no_advert",
}
_REPEATED = {
    "vrrp_instance", "vrrp_sync_group", "vrrp_script", "vrrp_track_process", "vrrp_track_file",
    "bfd_instance",
    "track_file", "virtual_server", "real_server", "global_defs", "url", "key", "garp_group",
    "static_ipaddress", "static_routes", "static_rules", "interface_up_down_delays", *CHECKERS,
}  # fmt: skip


class OptionReader:
    """What every reader of blocks does."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk

    def _options(self, block: Iterable[Statement], context: str) -> Options:
        """The honoured options of a block by name (old words under their new one); of one that is
        given twice the last counts, as keepalived has it."""
        options: Options = {}
        for statement in self.walk.honoured(block, context):
            name = _ALIASES.get(statement.name, statement.name)
            if name in options and name not in _REPEATED:
                message = (
                    f"given twice; this one replaces the one in line {options[name].place.line}"
                )
                self.walk.warn(statement.place, statement.name, message)
            options[name] = statement
        return options

    def _value(self, options: Options, name: str, convert: Callable[[str], T], default: T) -> T:
        statement = options.get(name)
        if statement is None:
            return default
        try:
            return convert(statement.arguments[0])
        except RefusedError as error:
            self.walk.refuse(statement, error.message, error.help)
            return default

    def _required(self, options: Options, name: str, of: Statement) -> bool:
        if name not in options:
            self.walk.refuse(of, f"needs '{name}'")
        return name in options

    def _build(self, model: type[M], statement: Statement, **values: Any) -> M | None:
        try:
            return model(**values)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                name = ".".join(str(part) for part in detail["loc"])
                self.walk.refuse(statement, f"{name}: {detail['msg']}")
            return None
