"""What the statuses of runs and steps say."""

from __future__ import annotations

from orchestrator.core.effect import Status, StepStatus


def test_a_run_that_is_queued_or_running_may_change_and_no_other():
    assert {Status.QUEUED, Status.RUNNING} == {status for status in Status if not status.final}


def test_a_job_or_a_pause_stands_for_steps_that_are_planned_asleep_or_waiting():
    assert {StepStatus.PLANNED, StepStatus.SLEEPING, StepStatus.WAITING} == {it for it in StepStatus if it.open}


def test_steps_that_completed_or_failed_have_an_outcome():
    assert {StepStatus.COMPLETED, StepStatus.FAILED} == {status for status in StepStatus if status.done}
