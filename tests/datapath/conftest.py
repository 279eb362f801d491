import random

import pytest
from director_rig import Rig


@pytest.fixture(params=["tc", "xdp"])
def rig(request: pytest.FixtureRequest) -> Rig:
    """A director of our own behind either hook, with nothing served yet."""
    return Rig(request.param)


@pytest.fixture
def seed() -> int:
    """Printed when the test fails."""
    value = random.SystemRandom().randrange(1 << 32)
    print(f"seed {value}")
    return value
