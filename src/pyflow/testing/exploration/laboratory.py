"""One run after another, in one world and on one loop, each under other faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyflow.testing.errors import SimulationStalled
from pyflow.testing.exploration.memory import Memory
from pyflow.testing.exploration.trial import Trial
from pyflow.testing.loop import VirtualLoop
from pyflow.testing.stage import Stage
from pyflow.testing.strands import SimulatedExecutor

if TYPE_CHECKING:
    from pyflow.testing.exploration.scout import Scout
    from pyflow.testing.exploration.template import Template
    from pyflow.testing.exploration.trial import Options
    from pyflow.testing.faults import Fault
    from pyflow.testing.world import World

__all__ = ["Laboratory"]

TURNS_MAX = 100_000
"""How many turns of the loop one instant may take; whatever takes more is spinning."""


class Laboratory:
    """Where one workflow is run again and again, in one world and on one loop."""

    def __init__(self, template: Template, world: World, options: Options) -> None:
        self.world = world
        self.options = options
        self._template = template
        self._executor = _KeptExecutor()
        self._stage = Stage(self._executor, fakes=options.fakes)
        self._plan: Any = None
        self._memory: Memory
        self._loop = VirtualLoop(turns_max=TURNS_MAX)
        self._saved = world.save()

    @property
    def workflow_name(self) -> str:
        """Name of the workflow."""
        return self._plan.workflow_name

    def close(self) -> None:
        """Let the threads and the loop end."""
        self._executor.let_go()
        self._loop.close()

    def run(self, script: tuple[Fault, ...], scout: Scout) -> Trial:
        """Run the workflow once, under the faults of *script*."""
        self.world.restore(self._saved)
        self._stage.clear()
        trial = Trial(
            script,
            scout,
            world=self.world,
            plan=self._renewed(),
            memory=self._memory,
            renew=self._renewed,
            stage=self._stage,
            options=self.options,
        )
        self.world.faults = scout
        self.world.watchers.append(trial.on_change)
        self._stage.bind(scout, trial.on_enter)
        self._loop.on_jump = trial.on_jump
        try:
            self._loop.run_until_complete(trial.main())
        except SimulationStalled as error:
            trial.stall(str(error))
        finally:
            scout.is_dead = True
            self.world.watchers.remove(trial.on_change)
            self._loop.on_jump = None
            self._rewind()
        return trial

    def _renewed(self) -> Any:
        """Return the plan with the functions of a new workflow, which remember nothing."""
        if self._template.renew():
            self._plan = self._template.plan
            self._memory = Memory(self._plan, looks_back=self.options.looks_back)
            self._stage.prepare(self._plan)
        return self._plan

    def _rewind(self) -> None:
        """Set the loop back, or take another one if something goes on in it in spite of that."""
        try:
            ended = self._loop.run_until_complete(self._loop.rewind())
        except SimulationStalled:
            ended = False
        if not ended:
            self._loop.abandon()
            self._loop = VirtualLoop(turns_max=TURNS_MAX)


class _KeptExecutor(SimulatedExecutor):
    """An executor whose threads outlive each run."""

    def close(self) -> None:
        """Keep the threads for the next run."""

    def let_go(self) -> None:
        """Let the threads end."""
        super().close()
