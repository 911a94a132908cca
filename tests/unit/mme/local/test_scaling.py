"""Target tracking: when there should be more instances, and when fewer."""

from collections.abc import Sequence
from typing import Any

import pytest

from mme.local.control.scaling import METRIC, Decision, Limits, Policy, Seen, after, decide

POLICY = Policy(name="p", target=100.0)
LIMITS = Limits(1, 10)
NOW = 1000.0


def scaled(seen: Seen, *policies: Policy, limits: Limits = LIMITS, now: float = NOW) -> int | None:
    """The number of instances that is decided on."""
    decision = decide(policies or (POLICY,), limits, seen, now)
    return None if decision is None else decision.instances


@pytest.mark.parametrize(
    ("instances", "minutes", "wanted"),
    [
        (2, [150.0], 3),
        (2, [101.0], 3),
        (2, [100.0], None),
        (2, [100.001], 3),
        (2, [1e9], 10),
        (10, [1e9], None),
        (2, [], None),
        (2, [500.0, 100.0], None),
        (2, [0.0, 0.0, 250.0], 5),
        (4, [50.0, 50.0], None),
        (4, [50.0, 50.0, 50.0], 2),
        (4, [20.0, 60.0, 50.0], 3),
        (4, [95.0, 10.0, 10.0], None),
        (4, [90.0, 90.0, 90.0], None),
        (4, [89.0, 89.0, 89.0], None),
        (4, [200.0, 0.0, 0.0, 0.0], 1),
        (1, [0.0, 0.0, 0.0], None),
    ],
)
def test_target_tracking(instances: int, minutes: Sequence[float], wanted: int | None) -> None:
    """One minute above the target adds, three well below it take away, in proportion."""
    assert scaled(Seen(instances, minutes)) == wanted


def test_limits() -> None:
    """The least and the most instances hold, and what is outside of them is brought in."""
    assert scaled(Seen(2, [900.0]), limits=Limits(1, 4)) == 4
    assert scaled(Seen(4, [0.0] * 3), limits=Limits(3, 4)) == 3
    assert decide([POLICY], Limits(3, 5), Seen(2), NOW) == Decision(3, None)
    assert decide([POLICY], Limits(3, 5), Seen(6, [900.0]), NOW) == Decision(5, None)
    assert decide([], Limits(3, 5), Seen(2, [900.0]), NOW) is None


def test_suspended() -> None:
    """A direction that is suspended is not gone, the other one is."""
    no_out, no_in = Limits(1, 10, True, False), Limits(1, 10, False, True)
    assert scaled(Seen(2, [900.0]), limits=no_out) is None
    assert scaled(Seen(2, [0.0] * 3), limits=no_out) == 1
    assert scaled(Seen(2, [0.0] * 3), limits=no_in) is None
    assert scaled(Seen(2, [400.0]), limits=no_in) == 8


def test_scale_in_disabled() -> None:
    """A policy that does not scale in has nothing against others that do."""
    stubborn = Policy(name="q", target=100.0, scales_in=False)
    assert scaled(Seen(4, [0.0] * 3), stubborn) is None
    assert scaled(Seen(4, [200.0]), stubborn) == 8
    assert scaled(Seen(4, [0.0] * 3), stubborn, POLICY) == 1


def test_several_policies() -> None:
    """The policy that wants most instances wins, and it is named."""
    other = Policy(name="q", target=50.0)
    assert decide([POLICY, other], LIMITS, Seen(2, [200.0]), NOW) == Decision(8, "q")
    assert decide([POLICY, other], LIMITS, Seen(4, [60.0] * 3), NOW) == Decision(5, "q")
    assert decide([POLICY, other], LIMITS, Seen(4, [40.0] * 3), NOW) is None


def test_scale_out_cooldown() -> None:
    """Within the cooldown of a scale-out, only a larger one comes."""
    policy = Policy(name="p", target=100.0, out_minutes=5)
    scaled_out = after(Seen(2, [150.0]), Decision(3, "p"), NOW)
    assert scaled_out == Seen(3, (), (NOW, 1), None)
    busy = scaled_out._replace(minutes=(120.0,))
    assert scaled(busy, policy, now=NOW + 4.9) is None
    assert scaled(busy, policy, now=NOW + 5) == 4
    assert scaled(busy._replace(minutes=(160.0,)), policy, now=NOW + 1) == 5


def test_scale_in_cooldown() -> None:
    """Within the cooldown of a scale-in none comes, but a scale-out does, and ends it."""
    policy = Policy(name="p", target=100.0, in_minutes=5)
    scaled_in = after(Seen(8, [50.0] * 3), Decision(4, "p"), NOW)
    assert scaled_in == Seen(4, (), None, NOW)
    idle = scaled_in._replace(minutes=(50.0,) * 3)
    assert scaled(idle, policy, now=NOW + 4.9) is None
    assert scaled(idle, policy, now=NOW + 5) == 2
    scaled_out = after(idle._replace(minutes=(150.0,)), Decision(6, "p"), NOW + 1)
    assert scaled(scaled_out._replace(minutes=(0.0,) * 3), policy, now=NOW + 4) == 1


def test_it_comes_to_rest() -> None:
    """Under constant traffic the number of instances is reached, and kept."""
    policy = Policy(name="p", target=100.0, out_minutes=0, in_minutes=0)
    for traffic, wanted in ((750.0, 8), (1000.0, 10), (90.0, 1)):
        seen = Seen(2)
        counts = []
        for minute in range(30):
            seen = seen._replace(minutes=(*seen.minutes, traffic / seen.instances))
            decision = decide([policy], LIMITS, seen, minute)
            if decision is not None:
                seen = after(seen, decision, minute)
            counts.append(seen.instances)
        assert set(counts[10:]) == {wanted}


def described(**tracking: Any) -> dict[str, Any]:
    """What DescribeScalingPolicies says of a policy."""
    return {
        "PolicyName": "p",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 70.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": METRIC},
            **tracking,
        },
    }


def test_policies() -> None:
    """A policy is read with AWS's defaults, and what it is not is said."""
    assert Policy.from_description(described()) == Policy(name="p", target=70.0)
    assert Policy.from_description(
        described(ScaleOutCooldown=60, ScaleInCooldown=120, DisableScaleIn=True)
    ) == Policy(name="p", target=70.0, out_minutes=1, in_minutes=2, scales_in=False)
    assert Policy(name="p", target=1.0).out_minutes == 5
    for policy, reason in (
        (
            {"PolicyName": "p", "PolicyType": "StepScaling"},
            "StepScaling is not emulated by mme local.",
        ),
        (
            described(PredefinedMetricSpecification={}),
            "A customized metric is not emulated by mme local.",
        ),
        (
            described(PredefinedMetricSpecification={"PredefinedMetricType": "Other"}),
            "Other is not emulated by mme local.",
        ),
        (described(TargetValue=0), "TargetValue must be above zero."),
    ):
        assert Policy.from_description(policy) == reason


def test_targets() -> None:
    """A scalable target is read with what is suspended of it."""
    target = {"MinCapacity": 1, "MaxCapacity": 4}
    assert Limits.from_description(target) == Limits(1, 4)
    assert Limits.from_description({"MinCapacity": 0, "MaxCapacity": 0}) == Limits(1, 1)
    suspended = {"DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": False}
    assert Limits.from_description({**target, "SuspendedState": suspended}) == Limits(
        1, 4, in_suspended=True
    )
