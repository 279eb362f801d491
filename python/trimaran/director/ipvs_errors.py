"""What IPVS's refusals mean: the kernel says a number, whose meaning depends on the command. The
sentences are ipvsadm's."""

import errno

from trimaran.director.ipvs_wire import Command

NO_SERVICE = "No such service"
NOT_DEFINED = "Service not defined"
NO_DESTINATION = "No such destination"
NO_SCHEDULER = "Scheduler or persistence engine not found"

MEANINGS = {
    (Command.NEW_SERVICE, errno.EEXIST): "Service already exists",
    (Command.NEW_SERVICE, errno.ENOENT): NO_SCHEDULER,
    (Command.SET_SERVICE, errno.ESRCH): NO_SERVICE,
    (Command.SET_SERVICE, errno.ENOENT): NO_SCHEDULER,
    (Command.DEL_SERVICE, errno.ESRCH): NO_SERVICE,
    (Command.GET_SERVICE, errno.ESRCH): NO_SERVICE,
    (Command.ZERO, errno.ESRCH): NO_SERVICE,
    (Command.NEW_DEST, errno.ESRCH): NOT_DEFINED,
    (Command.NEW_DEST, errno.EEXIST): "Destination already exists",
    (Command.SET_DEST, errno.ESRCH): NOT_DEFINED,
    (Command.SET_DEST, errno.ENOENT): NO_DESTINATION,
    (Command.DEL_DEST, errno.ESRCH): NOT_DEFINED,
    (Command.DEL_DEST, errno.ENOENT): NO_DESTINATION,
    (Command.GET_DEST, errno.ESRCH): NO_SERVICE,
    (Command.NEW_DAEMON, errno.EEXIST): "Daemon has already run",
    (Command.DEL_DAEMON, errno.ESRCH): "No daemon is running",
}
ALWAYS = {
    errno.EPERM: "Permission denied (you must be root)",
    errno.EINVAL: "Invalid operation.  Possibly wrong module version, address not unicast, ...",
    errno.ENOPROTOOPT: "Protocol not available",
    errno.ENOMEM: "Memory allocation problem",
    errno.EOPNOTSUPP: "Operation not supported with IPv6",
    errno.EAFNOSUPPORT: "Operation not supported with specified address family",
    errno.EMSGSIZE: "Module is wrong version",
}


def meaning(command: Command, number: int) -> str | None:
    """A sentence without its full stop; None where only the system's own word is left."""
    return MEANINGS.get((command, number)) or ALWAYS.get(number)
