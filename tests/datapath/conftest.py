import random

import pytest
from director_rig import Rig


@pytest.fixture
def rig() -> Rig:
    """A director of our own, with nothing served yet."""
    return Rig()


@pytest.fixture
def seed() -> int:
    """Printed when the test fails."""
    value = random.SystemRandom().randrange(1 << 32)
    print(f"seed {value}")
    return value
