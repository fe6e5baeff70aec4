"""The scheduler's rules, one by one."""

from __future__ import annotations

import pytest

from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.lease import Lease
from videogen_cluster.limits import Limits
from videogen_cluster.scheduler import (
    Completed,
    DeadLettered,
    GangRetired,
    Requeued,
    Scheduler,
    Stale,
)


def failure(error_class: ErrorClass) -> Failure:
    return Failure(error_class, f"because of {error_class}")


def scheduler(*ids: str, gangs: int = 1, close: bool = True, **limits: int | float) -> Scheduler:
    made = Scheduler(Limits(**limits), gangs)
    for index in range(gangs):
        made.gang_ready(index)
    for item in ids:
        made.offer(item, {"name": item})
    if close:
        made.close()
    return made


def take(made: Scheduler, gang: int = 0, now: float = 0.0) -> Lease:
    lease = made.lease(gang, now)
    assert lease is not None
    return lease


def test_items_are_leased_in_order_with_one_in_advance():
    made = scheduler("a", "b", "c")
    assert [take(made).item_id, take(made).item_id] == ["a", "b"]
    assert made.lease(0, 0.0) is None


def test_the_last_items_are_not_held_back_behind_a_busy_gang():
    made = scheduler("a", "b", gangs=2)
    assert take(made, gang=0).item_id == "a"
    assert made.lease(0, 0.0) is None
    assert take(made, gang=1).item_id == "b"


def test_every_gang_gets_its_next_item_ahead_however_many_there_are():
    made = scheduler(gangs=5, close=False, queue_capacity=4)
    items = (f"item-{index}" for index in range(20))
    for _ in range(4):
        for _ in range(made.room()):
            made.offer(next(items), {})
        for gang in range(5):
            made.lease(gang, 0.0)
    assert [len(made.leases(gang)) for gang in range(5)] == [2] * 5


def test_a_gang_that_is_not_ready_gets_nothing():
    made = Scheduler(Limits(), 1)
    made.offer("a", {})
    assert made.lease(0, 0.0) is None


def test_completion_is_terminal_and_a_second_one_is_stale():
    made = scheduler("a")
    lease = take(made)
    assert made.completed(lease, {"bytes": 3}) == Completed("a", 1, {"bytes": 3})
    assert made.completed(lease, {"bytes": 3}) == Stale("a")
    assert made.finished


def test_an_error_is_retried_until_the_attempts_are_used_up():
    made = scheduler("a", max_attempts=3)
    seen = []
    for _ in range(3):
        lease = take(made)
        seen.append((lease.attempt, type(made.failed(lease, failure(ErrorClass.ENCODE), 0.0))))
    assert seen == [(1, Requeued), (2, Requeued), (3, DeadLettered)]
    assert made.finished


@pytest.mark.parametrize(
    ("error_class", "attempts"),
    [
        (ErrorClass.INVALID_REQUEST, 1),
        (ErrorClass.OUTPUT_CONFLICT, 1),
        (ErrorClass.NON_FINITE, 2),
        (ErrorClass.UNEXPECTED, 5),
    ],
)
def test_each_class_has_its_own_number_of_attempts(error_class: ErrorClass, attempts: int):
    made = scheduler("a", max_attempts=5)
    for attempt in range(1, attempts + 1):
        decision = made.failed(take(made), failure(error_class), 0.0)
        assert isinstance(decision, DeadLettered) == (attempt == attempts)


def test_running_out_of_memory_asks_for_less_next_time():
    made = scheduler("a")
    first = take(made)
    made.failed(first, failure(ErrorClass.OUT_OF_MEMORY), 0.0)
    assert (first.degrade, take(made).degrade) == (0, 1)


def test_storage_errors_wait_twice_as_long_each_time_and_hold_nobody_up():
    made = scheduler("a", "b", "c", max_attempts=4, backoff_s=10, max_backoff_s=25)
    lease = take(made)
    waits = []
    now = 0.0
    for _ in range(3):
        decision = made.failed(lease, failure(ErrorClass.STORAGE), now)
        assert isinstance(decision, Requeued)
        waits.append(decision.not_before - now)
        now = decision.not_before
        assert made.next_wakeup() == now
        if waits == [10.0]:
            for other in ("b", "c"):
                held = take(made)
                assert held.item_id == other
                made.completed(held, {})
        assert made.lease(0, now - 0.1) is None
        lease = take(made, now=now)
    assert waits == [10.0, 20.0, 25.0]
    assert isinstance(made.failed(lease, failure(ErrorClass.STORAGE), now), DeadLettered)


def test_a_death_with_one_item_in_flight_costs_that_item_an_attempt():
    made = scheduler("a", "b", max_in_flight=1)
    take(made)
    assert made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 0.0) == [
        Requeued("a", 1, failure(ErrorClass.RANK_DEATH), 0.0)
    ]
    assert made.lease(0, 0.0) is None
    made.gang_ready(0)
    lease = take(made)
    assert (lease.item_id, lease.attempt, lease.exclusive) == ("a", 2, True)


def test_suspects_run_alone_and_only_the_poison_one_ends_in_the_dead_letter():
    made = scheduler("poison", "good", "next", max_attempts=3)
    started: list[str] = []
    ended: dict[str, type] = {}
    while not made.finished:
        made.gang_ready(0)
        leases = [lease for lease in (made.lease(0, 0.0), made.lease(0, 0.0)) if lease]
        started += [lease.item_id for lease in leases]
        if any(lease.item_id == "poison" for lease in leases):
            decisions = made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 0.0)
        else:
            decisions = [made.completed(lease, {}) for lease in leases]
        ended |= {d.item_id: type(d) for d in decisions if isinstance(d, Completed | DeadLettered)}
    assert ended == {"poison": DeadLettered, "good": Completed, "next": Completed}
    assert started.count("poison") == 3
    assert started[:3] == ["poison", "good", "poison"]


def test_a_suspect_goes_to_another_gang_than_the_one_that_died_with_it():
    made = scheduler(*"abcdef", gangs=2)
    suspects = [take(made, gang=0), take(made, gang=0)]
    busy = [take(made, gang=1)]
    made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 0.0)
    made.gang_ready(0)
    assert made.lease(1, 0.0) is None, "it would never be free for them"
    assert take(made, gang=0).item_id == "d"
    made.completed(busy[0], {})
    lease = take(made, gang=1)
    assert (lease.item_id, lease.exclusive) == (suspects[0].item_id, True)


def test_a_death_in_company_is_never_the_last_attempt():
    made = scheduler("a", "b", max_attempts=1)
    assert [take(made).item_id, take(made).item_id] == ["a", "b"]
    decisions = made.gang_lost(0, failure(ErrorClass.HANG), 0.0)
    assert [type(decision) for decision in decisions] == [Requeued, Requeued]
    made.gang_ready(0)
    assert take(made).item_id == "a"
    assert made.lease(0, 0.0) is None
    assert made.gang_lost(0, failure(ErrorClass.HANG), 0.0) == [
        DeadLettered("a", 1, failure(ErrorClass.HANG))
    ]


def test_node_loss_is_charged_to_nobody():
    made = scheduler("a", "b", max_attempts=1)
    for _ in range(20):
        assert [take(made).attempt, take(made).attempt] == [1, 1]
        decisions = made.gang_lost(0, failure(ErrorClass.PREEMPTION), 0.0)
        assert [type(decision) for decision in decisions] == [Requeued, Requeued]
        made.gang_ready(0)
    assert [take(made).item_id, take(made).item_id] == ["a", "b"]


def test_an_idle_gang_that_keeps_dying_is_given_up():
    made = scheduler(close=False, max_attempts=1, max_gang_deaths=3)
    decisions = []
    for _ in range(3):
        made.gang_ready(0)
        decisions = made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 0.0)
    assert decisions == [GangRetired(0, failure(ErrorClass.RANK_DEATH))]
    assert made.usable_gangs() == []


def test_a_gang_that_cannot_start_is_given_up_and_others_are_not():
    made = Scheduler(Limits(max_setup_failures=2), 2)
    made.gang_ready(1)
    assert made.gang_lost(0, failure(ErrorClass.UNEXPECTED), 0.0) == []
    assert made.gang_lost(0, failure(ErrorClass.UNEXPECTED), 0.0) == [
        GangRetired(0, failure(ErrorClass.UNEXPECTED))
    ]
    assert made.usable_gangs() == [1]


def test_a_gang_that_has_been_ready_may_fail_to_start_as_often_as_it_may_die():
    made = Scheduler(Limits(max_setup_failures=2, max_gang_deaths=4), 1)
    made.gang_ready(0)
    lost = failure(ErrorClass.RANK_DEATH)
    assert [made.gang_lost(0, lost, 0.0) for _ in range(4)] == [[], [], [], []]
    assert made.gang_lost(0, lost, 0.0) == [GangRetired(0, lost)]


def give_up_gang(made: Scheduler, gang: int, now: float = 0.0) -> None:
    decisions = []
    while not decisions:
        decisions = made.gang_lost(gang, failure(ErrorClass.UNEXPECTED), now)
    assert decisions == [GangRetired(gang, failure(ErrorClass.UNEXPECTED))]


def complete_one(made: Scheduler, gang: int) -> None:
    made.completed(take(made, gang), {})


def test_a_gang_that_was_given_up_gets_one_more_chance_if_the_run_went_on_without_it():
    made = scheduler("a", "b", "c", gangs=2, max_in_flight=1, parole_s=60.0)
    give_up_gang(made, 0)
    made.pardon(1e9)
    assert made.usable_gangs() == [1], "nothing has been completed since"
    complete_one(made, 1)
    made.pardon(59.9)
    assert made.usable_gangs() == [1], "too early"
    made.pardon(60.0)
    assert made.buildable_gangs(60.0) == [0, 1]
    assert isinstance(made.gang_lost(0, failure(ErrorClass.UNEXPECTED), 60.0)[0], GangRetired)
    complete_one(made, 1)
    made.pardon(179.9)
    assert made.usable_gangs() == [1], "it waits twice as long for its second chance"
    made.pardon(180.0)
    assert made.usable_gangs() == [0, 1]


def test_a_gang_without_weights_is_never_pardoned():
    made = scheduler("a", gangs=2)
    made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 0.0)
    made.gang_lost(0, failure(ErrorClass.ENVIRONMENT), 0.0)
    complete_one(made, 1)
    made.pardon(1e9)
    assert made.usable_gangs() == [1]


def test_a_run_is_hopeless_when_no_gang_is_left_that_may_be_pardoned():
    made = scheduler("a", "b", gangs=2, max_in_flight=1, parole_s=60.0)
    give_up_gang(made, 0)
    complete_one(made, 1)
    give_up_gang(made, 1)
    assert (made.usable_gangs(), made.is_hopeless, made.next_wakeup()) == ([], False, 60.0)
    made.pardon(60.0)
    assert not made.is_hopeless
    made.gang_lost(0, failure(ErrorClass.UNEXPECTED), 60.0)
    assert made.is_hopeless


def test_a_gang_that_misses_its_weights_is_given_up_at_once():
    made = Scheduler(Limits(), 1)
    assert made.gang_lost(0, failure(ErrorClass.ENVIRONMENT), 0.0) == [
        GangRetired(0, failure(ErrorClass.ENVIRONMENT))
    ]


def test_poison_items_do_not_use_up_the_budget_of_a_gang():
    ids = [f"poison-{index}" for index in range(50)]
    made = scheduler(*ids, max_attempts=3, max_gang_deaths=6)
    dead = 0
    while not made.finished:
        made.gang_ready(0)
        take(made)
        made.lease(0, 0.0)
        decisions = made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 0.0)
        assert not any(isinstance(decision, GangRetired) for decision in decisions)
        dead += sum(isinstance(decision, DeadLettered) for decision in decisions)
    assert dead == 50


def test_a_drained_scheduler_finishes_what_is_in_flight_and_starts_nothing():
    made = scheduler("a", "b", "c")
    lease = take(made)
    made.drain()
    assert made.lease(0, 0.0) is None
    assert made.room() == 0
    assert not made.finished
    made.completed(lease, {})
    assert made.finished
    assert made.num_live == 2


def test_room_counts_what_waits_and_not_what_runs():
    made = scheduler("a", "b", "c", close=False, queue_capacity=4)
    assert made.room() == 1
    take(made)
    assert made.room() == 2
    made.close()
    assert made.room() == 0


def test_a_late_completion_of_an_old_lease_wins_over_the_retry():
    made = scheduler("a", gangs=2)
    old = take(made, gang=0)
    made.gang_lost(0, failure(ErrorClass.PREEMPTION), 0.0)
    new = take(made, gang=1)
    assert made.completed(old, {"late": True}) == Completed("a", 1, {"late": True})
    assert made.completed(new, {}) == Stale("a")
    assert made.num_in_flight == 0


def test_a_gang_that_dies_with_an_item_completed_elsewhere_takes_nothing_with_it():
    made = scheduler("a", gangs=2)
    old = take(made, gang=0)
    made.gang_lost(0, failure(ErrorClass.PREEMPTION), 0.0)
    take(made, gang=1)
    made.completed(old, {})
    assert made.gang_lost(1, failure(ErrorClass.RANK_DEATH), 0.0) == []
    assert made.finished


def test_a_late_completion_removes_the_retry_that_waits():
    made = scheduler("a")
    old = take(made)
    made.failed(old, failure(ErrorClass.STORAGE), 0.0)
    made.completed(old, {})
    assert made.finished
    assert made.lease(0, 1e9) is None


def test_the_failure_of_an_old_lease_changes_nothing():
    made = scheduler("a", gangs=2)
    old = take(made, gang=0)
    made.gang_lost(0, failure(ErrorClass.PREEMPTION), 0.0)
    take(made, gang=1)
    assert made.failed(old, failure(ErrorClass.UNEXPECTED), 0.0) == Stale("a")
    assert made.num_in_flight == 1


def test_the_same_id_twice_is_a_bug_of_the_caller():
    made = scheduler("a")
    with pytest.raises(ValueError, match="'a' twice"):
        made.offer("a", {})


def test_limits_that_would_strand_the_queue_are_refused():
    with pytest.raises(ValueError, match="more than max_attempts"):
        Limits(max_attempts=3, max_gang_deaths=3)


def test_a_gang_that_is_added_takes_items():
    made = scheduler("a", "b", gangs=0)
    gang = made.add_gang()
    made.gang_ready(gang)
    assert (gang, take(made, gang=gang).item_id) == (0, "a")
    assert made.add_gang() == 1


def test_gangs_that_wait_for_room_do_not_keep_the_next_item_from_a_busy_one():
    made = scheduler("a", "b")
    made.add_gang()
    assert [take(made).item_id, take(made).item_id] == ["a", "b"]


def test_a_gang_on_hold_gets_nothing_and_what_it_holds_may_end():
    made = scheduler("a", "b")
    lease = take(made)
    made.hold(0)
    assert made.lease(0, 0.0) is None
    assert made.completed(lease, {}) == Completed("a", 1, {})
    made.hold(0, is_held=False)
    assert take(made).item_id == "b"


def test_a_retired_gang_gives_its_items_back_and_is_not_built_again():
    made = scheduler("a", "b", gangs=2)
    take(made, gang=0)
    no_room = failure(ErrorClass.CANCELLED)
    assert made.retire(0, no_room, 5.0) == [Requeued("a", 0, no_room, 5.0)]
    assert made.usable_gangs() == made.buildable_gangs(1e9) == [1]
    assert made.given_up_gangs() == []
    with pytest.raises(ValueError, match="without charge"):
        made.retire(1, failure(ErrorClass.RANK_DEATH), 0.0)


def test_failed_starts_wait_longer_each_time_and_a_good_one_forgives():
    made = Scheduler(Limits(max_setup_failures=9, backoff_s=2), 1)
    for wait_s in (2.0, 4.0, 8.0):
        made.gang_lost(0, failure(ErrorClass.UNEXPECTED), 100.0)
        assert made.next_wakeup() == 100.0 + wait_s
        assert made.buildable_gangs(99.9 + wait_s) == []
        assert made.buildable_gangs(100.0 + wait_s) == [0]
    made.gang_ready(0)
    assert made.next_wakeup() is None
    made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 100.0)
    assert made.buildable_gangs(100.0) == [0], "a gang that worked is replaced at once"


def test_a_gang_that_kills_every_item_is_given_up_though_others_complete_them():
    made = scheduler(*(f"item-{n}" for n in range(9)), gangs=2, max_gang_deaths=4, max_in_flight=1)
    decisions = []
    for _ in range(4):
        lease = take(made, gang=0)
        decisions = made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 0.0)
        made.completed(take(made, gang=1), {})
        assert lease.attempt == 1
        made.gang_ready(0)
    assert decisions[-1] == GangRetired(0, failure(ErrorClass.RANK_DEATH))
    assert (made.usable_gangs(), made.given_up_gangs()) == ([1], [0])


def test_a_loss_says_which_items_have_to_be_done_again():
    made = scheduler("a", "b")
    assert [take(made).item_id, take(made).item_id] == ["a", "b"]
    decisions = made.gang_lost(0, failure(ErrorClass.RANK_DEATH), 0.0, started=["a"])
    assert {d.item_id: d.started for d in decisions if isinstance(d, Requeued)} == {
        "a": True,
        "b": False,
    }


def test_an_item_that_was_begun_before_is_marked_charged_or_not():
    made = scheduler("a", "b")
    assert not take(made).repeat
    made.gang_lost(0, failure(ErrorClass.PREEMPTION), 0.0)
    made.gang_ready(0)
    again, fresh = take(made), take(made)
    assert (again.item_id, again.attempt, again.repeat) == ("a", 1, True)
    assert not fresh.repeat
