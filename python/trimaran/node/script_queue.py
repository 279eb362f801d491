"""The scripts that are told of changes: one at a time for each subject, and few at once."""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable

from trimaran.health.settings import ScriptSettings
from trimaran.system import scripts

AT_ONCE = 16
Call = tuple[ScriptSettings, tuple[str, ...]]


class ScriptQueue:
    """While a subject's script runs, the newest `waiting` of those that follow are remembered (1:
    after a flap the last word is what counts). `failed(script, why)` is told of every failure, and
    of what is dropped from a longer queue."""

    def __init__(self, failed: Callable[[ScriptSettings, str], None], waiting: int = 1) -> None:
        self._failed = failed
        self._waiting = waiting
        self._next: dict[Hashable, deque[Call]] = {}
        self._tasks: dict[Hashable, asyncio.Task[None]] = {}
        self._few = asyncio.Semaphore(AT_ONCE)

    def tell(
        self, subject: Hashable, script: ScriptSettings | None, arguments: tuple[str, ...] = ()
    ) -> None:
        """Run the script, if there is one, after the subject's earlier one."""
        if script is None:
            return
        queue = self._next.setdefault(subject, deque(maxlen=self._waiting))
        if len(queue) == self._waiting > 1:
            self._failed(queue[0][0], f"not run: {self._waiting} of {subject} wait already")
        queue.append((script, arguments))
        if subject not in self._tasks:
            self._tasks[subject] = asyncio.create_task(self._work(subject))

    async def finish(self, within_s: float) -> None:
        """Wait for what is under way, and end what takes longer."""
        if not self._tasks:
            return
        tasks = list(self._tasks.values())
        _, late = await asyncio.wait(tasks, timeout=within_s)
        self._next.clear()
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, subject: Hashable) -> None:
        try:
            while queue := self._next.get(subject):
                call = queue.popleft()
                async with self._few:
                    await self._run(*call)
        finally:
            self._next.pop(subject, None)
            del self._tasks[subject]

    async def _run(self, script: ScriptSettings, arguments: tuple[str, ...]) -> None:
        try:
            async with asyncio.timeout(script.timeout_s):
                status = await scripts.run(script.command, script.user, arguments)
        except TimeoutError:
            self._failed(script, f"ended after {script.timeout_s:g} s: it had not come to an end")
        except scripts.ScriptError as error:
            self._failed(script, str(error))
        else:
            if status:
                self._failed(script, scripts.exit_words(status))
