"""How many instances a variant should have: target tracking, as pure code.

All times are in minutes of the caller's clock, which may be shorter ones. Where AWS waits for three
minutes above the target, one is enough here; where it waits for fifteen below nine tenths of it,
three are. As on AWS, a minute without invocations counts as zero; of several policies the one that
wants most instances wins; and cooldowns hold.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

METRIC = "SageMakerVariantInvocationsPerInstance"
TARGET_TRACKING = "TargetTrackingScaling"
_MINUTES_OUT, _MINUTES_IN = 1, 3
_LOW_SHARE = 0.9  # of the target: what is above it is near enough
_COOLDOWN_SECONDS = 300
_MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A target-tracking policy on invocations per instance and minute.

    Attributes:
        name: its name.
        target: invocations per instance and minute.
        out_minutes: after a scale-out, only a larger one comes within this time.
        in_minutes: after a scale-in, none comes within this time.
        scales_in: it may take instances away.
    """

    name: str
    target: float
    out_minutes: float = _COOLDOWN_SECONDS / _MINUTE_SECONDS
    in_minutes: float = _COOLDOWN_SECONDS / _MINUTE_SECONDS
    scales_in: bool = True

    @classmethod
    def from_description(cls, policy: Mapping[str, Any]) -> "Self | str":
        """Make it from what DescribeScalingPolicies says, or say why that cannot be."""
        if policy["PolicyType"] != TARGET_TRACKING:
            return f"{policy['PolicyType']} is not emulated by mme local."
        tracking = policy["TargetTrackingScalingPolicyConfiguration"]
        metric = tracking.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
        if metric != METRIC:
            return f"{metric or 'A customized metric'} is not emulated by mme local."
        if tracking["TargetValue"] <= 0:
            return "TargetValue must be above zero."
        return cls(
            name=policy["PolicyName"],
            target=tracking["TargetValue"],
            out_minutes=tracking.get("ScaleOutCooldown", _COOLDOWN_SECONDS) / _MINUTE_SECONDS,
            in_minutes=tracking.get("ScaleInCooldown", _COOLDOWN_SECONDS) / _MINUTE_SECONDS,
            scales_in=not tracking.get("DisableScaleIn", False),
        )


class Limits(NamedTuple):
    """Of a scalable target: the least and the most instances, and which way is suspended."""

    least: int
    most: int
    out_suspended: bool = False
    in_suspended: bool = False

    @classmethod
    def from_description(cls, target: Mapping[str, Any]) -> Self:
        """Make it from what DescribeScalableTargets says."""
        suspended = target.get("SuspendedState", {})
        return cls(
            least=max(1, target["MinCapacity"]),  # a variant never is without instances
            most=max(1, target["MaxCapacity"]),
            out_suspended=suspended.get("DynamicScalingOutSuspended", False),
            in_suspended=suspended.get("DynamicScalingInSuspended", False),
        )


class Seen(NamedTuple):
    """What is known of a variant.

    Attributes:
        instances: how many it has.
        minutes: invocations per instance in each full minute since they are so many, oldest first.
        out_at: when instances were added, and how many they were.
        in_at: when instances were taken away.
    """

    instances: int
    minutes: Sequence[float] = ()
    out_at: tuple[float, int] | None = None
    in_at: float | None = None


class Decision(NamedTuple):
    """How many instances it shall be, and the policy that says so; none for limits alone."""

    instances: int
    policy: str | None


def decide(policies: Sequence[Policy], limits: Limits, seen: Seen, now: float) -> Decision | None:
    """Whether to scale.

    Args:
        policies: of the variant; without any, nothing is done.
        limits: of its scalable target.
        seen: what is known of it.
        now: in minutes.

    Returns:
        Another number of instances, or nothing.
    """
    if not policies:
        return None
    bounded = min(max(seen.instances, limits.least), limits.most)
    if bounded != seen.instances:
        return Decision(bounded, None)
    wishes = [(_wanted(policy, seen, now), policy) for policy in policies]
    # One that does not scale in has nothing against others that do.
    counted = [
        (wanted, policy.name)
        for wanted, policy in wishes
        if policy.scales_in or wanted > seen.instances
    ]
    wanted, name = max(counted, default=(seen.instances, ""))
    wanted = min(max(wanted, limits.least), limits.most)
    suspended = limits.out_suspended if wanted > seen.instances else limits.in_suspended
    return None if wanted == seen.instances or suspended else Decision(wanted, name)


def after(seen: Seen, decision: Decision, now: float) -> Seen:
    """What is known when a decision has been made: of the old minutes, nothing holds then."""
    added = decision.instances - seen.instances
    if added > 0:  # which ends what a scale-in had to wait for
        return Seen(decision.instances, out_at=(now, added))
    return Seen(decision.instances, out_at=seen.out_at, in_at=now)


def _wanted(policy: Policy, seen: Seen, now: float) -> int:
    """How many instances a policy wants, limits apart."""
    latest = seen.minutes[-_MINUTES_OUT:]
    if len(latest) == _MINUTES_OUT and min(latest) > policy.target:
        wanted = math.ceil(seen.instances * latest[-1] / policy.target)
        return wanted if _may_add(policy, seen, wanted, now) else seen.instances
    latest = seen.minutes[-_MINUTES_IN:]
    if len(latest) < _MINUTES_IN or max(latest) >= _LOW_SHARE * policy.target:
        return seen.instances
    if seen.in_at is not None and now < seen.in_at + policy.in_minutes:
        return seen.instances
    return max(1, math.ceil(seen.instances * max(latest) / policy.target))


def _may_add(policy: Policy, seen: Seen, wanted: int, now: float) -> bool:
    if seen.out_at is None:
        return True
    at, added = seen.out_at
    return now >= at + policy.out_minutes or wanted - seen.instances > added
