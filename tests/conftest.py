from collections.abc import Iterator

import pytest

from vm.kernel import NoMachineError
from vm.machine import Machine


@pytest.fixture(scope="session")
def vm() -> Iterator[Machine]:
    """A machine with the kernel's IPVS, booted once for the session (tests/vm/machine.py)."""
    try:
        machine = Machine()
    except NoMachineError as error:
        pytest.fail(str(error), pytrace=False)
    yield machine
    machine.close()
