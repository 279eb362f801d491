import random

import pytest
from director_rig import Rig


@pytest.fixture(scope="session")
def rigs() -> dict[str, Rig]:
    """By hook; made when first asked for."""
    return {}


@pytest.fixture
def rig(request: pytest.FixtureRequest, rigs: dict[str, Rig]) -> Rig:
    """A director with nothing served yet, behind tc; `both_hooks` also behind XDP."""
    hook = getattr(request, "param", "tc")
    if hook not in rigs:
        rigs[hook] = Rig(hook)
    rigs[hook].clear()
    return rigs[hook]


@pytest.fixture
def seed() -> int:
    """Printed when the test fails."""
    value = random.SystemRandom().randrange(1 << 32)
    print(f"seed {value}")
    return value
