"""Gangs that live and fail all they are given: they are replaced, and take no item with them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection

import pytest

from videogen_cluster.failures import ErrorClass, Failure
from videogen_cluster.lease import Lease
from videogen_cluster.limits import Limits
from videogen_cluster.scheduler import (
    Completed,
    DeadLettered,
    Decision,
    GangRetired,
    Requeued,
    Scheduler,
)

BROKEN = Failure(ErrorClass.UNEXPECTED, "an illegal memory access was encountered")
REPLACED = Failure(ErrorClass.CANCELLED, "failed one item after the other")


def scheduler(num_items: int, gangs: int, **limits: int) -> Scheduler:
    made = Scheduler(Limits(**{"max_in_flight": 1, **limits}), gangs)
    for gang in range(gangs):
        made.gang_ready(gang)
    for index in range(num_items):
        made.offer(f"item-{index}", {"number": index})
    made.close()
    return made


def take(made: Scheduler, gang: int) -> Lease:
    lease = made.lease(gang, 0.0)
    assert lease is not None
    return lease


def fail(made: Scheduler, gang: int, failure: Failure = BROKEN, count: int = 1) -> list[Decision]:
    return [made.failed(take(made, gang), failure, 0.0) for _ in range(count)]


def complete(made: Scheduler, gang: int) -> None:
    assert isinstance(made.completed(take(made, gang), {}), Completed)


def replace(made: Scheduler, gang: int) -> list[Decision]:
    decisions = made.gang_lost(gang, REPLACED, 0.0)
    if gang in made.usable_gangs():
        made.gang_ready(gang)
    return decisions


def test_three_failures_in_a_row_make_a_gang_sick_and_a_completion_forgives():
    made = scheduler(9, gangs=2)
    fail(made, 0, count=2)
    complete(made, 0)
    fail(made, 0, count=2)
    assert not made.is_sick(0)
    fail(made, 0)
    assert (made.is_sick(0), made.is_sick(1)) == (True, False)
    replace(made, 0)
    assert not made.is_sick(0)


@pytest.mark.parametrize(
    "error_class", [ErrorClass.REJECTED, ErrorClass.OUTPUT_CONFLICT, ErrorClass.INVALID_REQUEST]
)
def test_what_is_surely_the_fault_of_the_item_says_nothing_about_the_gang(error_class: ErrorClass):
    made = scheduler(9, gangs=2)
    fail(made, 0, Failure(error_class, "x"), count=9)
    assert not made.is_sick(0)


def test_only_an_item_that_asks_for_less_and_still_finds_no_memory_counts_against_the_gang():
    made = scheduler(5, gangs=1)
    full = Failure(ErrorClass.OUT_OF_MEMORY, "x")
    fail(made, 0, full, count=5)
    assert not made.is_sick(0)
    fail(made, 0, full, count=3)
    assert made.is_sick(0)


def test_what_a_sick_gang_holds_goes_back_uncharged():
    made = scheduler(9, gangs=1, max_in_flight=2)
    fail(made, 0, count=2)
    last, held = take(made, 0), take(made, 0)
    made.failed(last, BROKEN, 0.0)
    assert made.is_sick(0)
    assert replace(made, 0) == [Requeued(held.item_id, 0, REPLACED, 0.0)]


def test_an_item_that_failed_on_a_gang_is_tried_on_another_one():
    made = scheduler(1, gangs=2)
    fail(made, 0)
    assert made.lease(0, 0.0) is None
    fail(made, 1)
    (decision,) = fail(made, 0)
    assert isinstance(decision, DeadLettered), "it has failed on all there are"


def test_a_gang_alone_tries_an_item_again_and_gives_it_up():
    made = scheduler(1, gangs=2)
    made.hold(1)
    assert [type(each) for each in fail(made, 0, count=3)] == [Requeued, Requeued, DeadLettered]


def test_a_gang_that_a_new_process_did_not_mend_waits_until_another_one_completes_an_item():
    made = scheduler(9, gangs=2)
    fail(made, 0, count=3)
    replace(made, 0)
    assert made.lease(0, 0.0) is None
    complete(made, 1)
    fail(made, 0)
    assert made.is_sick(0), "the items are good, so one failure is enough"
    replace(made, 0)
    assert made.lease(0, 0.0) is None
    complete(made, 1)
    complete(made, 0)
    fail(made, 0, count=2)
    assert not made.is_sick(0)


def test_a_sick_gang_is_given_up_as_one_that_dies_is():
    made = scheduler(20, gangs=2, max_gang_deaths=4)
    fail(made, 0, count=2)
    told: list[Decision] = []
    for _ in range(4):
        fail(made, 0)
        told += replace(made, 0)
        complete(made, 1)
    assert told == [GangRetired(0, REPLACED)]
    assert made.usable_gangs() == [1]


def test_a_loss_that_is_nobodys_fault_is_no_death_of_a_gang_that_was_sick():
    made = scheduler(20, gangs=2, max_gang_deaths=4)
    fail(made, 0, count=3)
    replace(made, 0)
    for _ in range(9):
        complete(made, 1)
        made.gang_lost(0, Failure(ErrorClass.PREEMPTION, "x"), 0.0)
        made.gang_ready(0)
    assert made.usable_gangs() == [0, 1]


def test_a_gang_that_ends_items_alone_is_given_up_though_others_complete_them():
    made = scheduler(20, gangs=2, max_attempts=1, max_gang_deaths=4)
    told: list[Decision] = []
    for _ in range(4):
        take(made, 0)
        told += made.gang_lost(0, Failure(ErrorClass.RANK_DEATH, "x"), 0.0)
        made.gang_ready(0)
    assert [type(each) for each in told] == [DeadLettered] * 4 + [GangRetired]


@pytest.mark.parametrize("gangs", [1, 2, 5])
def test_items_that_are_all_bad_end_and_cost_each_gang_one_process(gangs: int):
    told = simulate(gangs, num_items=200, is_bad=lambda number: True)
    assert told == Counter(DeadLettered=200, Requeued=400, replaced=gangs)


def test_bad_items_in_a_row_do_not_keep_the_good_ones_from_being_made():
    told = simulate(4, num_items=300, is_bad=lambda number: 100 <= number < 200)
    assert (told["Completed"], told["DeadLettered"]) == (200, 100)


def test_a_process_that_cannot_use_its_gpu_any_more_costs_a_gang_alone_nothing():
    told = simulate(1, num_items=50, sick=[0], is_mended=True)
    assert (told["Completed"], told["DeadLettered"], told["replaced"]) == (50, 0, 1)


@pytest.mark.parametrize("error_class", [ErrorClass.UNEXPECTED, ErrorClass.STORAGE])
def test_one_sick_gang_of_many_takes_no_item_with_it(error_class: ErrorClass):
    told = simulate(16, num_items=500, sick=[3], error_class=error_class)
    assert (told["Completed"], told["DeadLettered"]) == (500, 0)
    assert 6 <= told["replaced"] < 12
    assert told["GangRetired"] >= 1


def test_a_node_of_sick_gangs_takes_hardly_an_item_with_it():
    told = simulate(64, num_items=1500, sick=range(8))
    assert told["Completed"] >= 1495


def simulate(
    gangs: int,
    num_items: int,
    *,
    sick: Collection[int] = (),
    is_bad: Callable[[int], bool] = lambda number: False,
    is_mended: bool = False,
    error_class: ErrorClass = ErrorClass.UNEXPECTED,
) -> Counter[str]:
    """Run all items with clips of a minute, starts of a minute and failures of 0.1 s.

    Args:
        sick: gangs that fail everything; `is_mended` if only their first process does.

    Returns:
        How often each decision came, and how often a gang was `replaced`.
    """
    made = Scheduler(Limits(max_in_flight=1), gangs)
    source = iter(range(num_items))
    ends: list[tuple[float, int, Lease | None]] = [(0.0, gang, None) for gang in range(gangs)]
    starting, broken, told = set(range(gangs)), set(sick), Counter[str]()

    def tell(decisions: list[Decision]) -> None:
        told.update(type(decision).__name__ for decision in decisions)

    def fails(lease: Lease) -> bool:
        return lease.gang in broken or is_bad(lease.payload["number"])

    def end(lease: Lease, now: float) -> None:
        if not fails(lease):
            tell([made.completed(lease, {})])
            return
        tell([made.failed(lease, Failure(error_class, "x"), now)])
        if made.is_sick(lease.gang):
            told["replaced"] += 1
            broken.difference_update([lease.gang] if is_mended else [])
            tell(made.gang_lost(lease.gang, REPLACED, now))
            starting.add(lease.gang)
            heapq.heappush(ends, (now + 60.0, lease.gang, None))

    now = 0.0
    while not made.finished:
        while made.room() and (number := next(source, None)) is not None:
            made.offer(f"item-{number}", {"number": number})
        if made.room():
            made.close()
        for gang in range(gangs):
            if gang not in starting and (lease := made.lease(gang, now)):
                heapq.heappush(ends, (now + (0.1 if fails(lease) else 60.0), gang, lease))
        wakeup = made.next_wakeup()
        if wakeup is not None and now < wakeup < (ends[0][0] if ends else 1e12):
            now = wakeup
            continue
        now, gang, lease = heapq.heappop(ends)
        if lease is not None:
            end(lease, now)
        elif gang in made.buildable_gangs(now):
            made.gang_ready(gang)
            starting.discard(gang)
    return told
