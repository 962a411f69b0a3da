"""
What a run will do, drawn from its seed alone: windows, obligations, faults, the operator's last word.

The seed reproduces the plan to the letter. What it cannot reproduce is the operating system's timing: where
exactly a kill meets a step differs from run to run.
"""

import random
from dataclasses import dataclass, replace

from clearing.faults import POINTS
from clearing.states import Region

CURRENCIES = ("USD", "EUR", "JPY")
MEMBERS = 5
POOR = "POOR"  # has accounts and no money: a window in which it pays rolls back by a business rule
RICH_MINOR = 50_000_000
LAST_ROUND_SECONDS = 3.0
AFTER_ROUND_SECONDS = 1.2  # a round is taken up within half a second, and takes about half a second
HANG_SECONDS = 2.0  # twice the lease

# Where the engine's own processes come by. A correction's points are an operator's (test_corrections_api);
# those of an engine outside come by only where one settles (ENGINE_POINTS); those of intake and of pulls need
# a sender (tests/engines, tests/clearing/consumers).
ELSEWHERE = ("correction.", "engine.", "intake.", "pull.")
STACK_POINTS = tuple(point for point in POINTS if not point.startswith(ELSEWHERE))
ENGINE_POINTS = tuple(point for point in POINTS if point.startswith("engine."))
PUBLISHES = ("publish.before",)
CORRECTED = 0.25  # how often a completed window is corrected
AHEAD = 0.3  # a point is armed that long before its round at the earliest
KINDS = {  # weights: what kills is drawn more often
    "raise": 4,
    "kill": 5,
    "hang": 2,
    "drop": 2,
    "duplicate": 2,
    "poison": 1,
    "relay point": 1,
    "kill worker child": 3,
    "kill worker": 3,
    "pause worker child": 2,
    "kill Beat": 1,
    "kill relay": 1,
    "restart PostgreSQL": 2,
    "restart Redis": 2,
    "lose Redis": 2,
    "flush Redis": 1,
    "restart NATS": 1,
    "dispatch twice": 2,
    "two sweeps": 2,
    "errback five times": 2,
    "operator rolls back": 1,
}
ENGINE_KINDS = {  # drawn on top where an engine outside settles
    "engine: raise": 2,
    "engine: kill": 3,
    "engine: hang": 2,
    "kill engine": 4,
    "engine away": 2,
    "kill confirmations": 2,
}
ENGINE_MODES = {  # what the engine does to a share of the orders: the largest share that is drawn
    "late": 0.3,
    "timeout": 0.15,
    "lost": 0.15,
    "twice": 0.2,
    "reject": 0.06,
    "die": 0.05,
    "die_first": 0.05,
}
AWAY_SECONDS = 3.0
FAILED_WORDS = ("leave it", "try again", "by hand", "both at once")


@dataclass(frozen=True, slots=True)
class Owed:
    """One obligation, its parties by number; payer -1 is the poor one."""

    payer: int
    payee: int
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class Round:
    """Obligations for a region's accepting window, whose cutoff comes right after them."""

    at: float
    region: Region
    owed: tuple[Owed, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and when."""

    at: float
    kind: str
    point: str = ""

    @property
    def action(self) -> str:
        """What an armed fault point is told to do."""
        if self.kind in ("poison", "relay point"):
            return "raise" if self.kind == "poison" else "kill"
        action = self.kind.removeprefix("engine: ")
        return f"hang {HANG_SECONDS}" if action == "hang" else action


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    rounds: tuple[Round, ...]
    faults: tuple[Fault, ...]
    last_words: tuple[str, ...]  # what the operator does with the run's first, second, ... rolled-back window
    corrections: tuple[bool, ...] = ()  # whether its first, ... completed window is corrected, twice at once
    engine: str = ""  # what the engine outside does to which share of its orders
    failed_words: tuple[str, ...] = ()  # what the operator does about the first, ... instruction that failed


def draw(seed: int) -> Plan:
    """Draw the run of *seed*."""
    chance = random.Random(seed)
    rounds = [_round(chance, at=0.0)]
    rounds += [
        _round(chance, at=chance.uniform(0.0, LAST_ROUND_SECONDS)) for _ in range(chance.randint(3, 6))
    ]
    faults = [_fault(chance, rounds) for _ in range(chance.randint(2, 5))]
    words = tuple(chance.choice(("leave it", "leave it", "fund and clear", "give up")) for _ in rounds)
    corrections = tuple(chance.random() < CORRECTED for _ in rounds)
    return Plan(
        seed,
        tuple(sorted(rounds, key=lambda each: each.at)),
        tuple(sorted(faults, key=lambda each: each.at)),
        words,
        corrections,
    )


def draw_outside(seed: int) -> Plan:
    """Draw the run of *seed* where an engine outside settles: the same, and what happens to that engine."""
    plan, chance = draw(seed), random.Random(f"{seed}/engine")
    faults = [_engine_fault(chance, plan.rounds) for _ in range(chance.randint(1, 3))]
    modes = chance.sample(list(ENGINE_MODES), chance.randint(1, 4))
    return replace(
        plan,
        faults=tuple(sorted((*plan.faults, *faults), key=lambda each: each.at)),
        engine=",".join(f"{mode}={chance.uniform(0, ENGINE_MODES[mode]):.3f}" for mode in modes),
        failed_words=tuple(chance.choice(FAILED_WORDS) for _ in range(20)),
    )


def scenario(point: str, action: str) -> Plan:
    """One fault at one point, in a window that completes; where only a rollback comes by, in a short one."""
    chance = random.Random(point)
    owed = tuple(_owed(chance) for _ in range(6)) + ((_short(chance),) if goes_back(point) else ())
    kind = "relay point" if point.startswith("relay.") and action == "kill" else action
    return Plan(0, (Round(0.0, Region.GLOBAL, owed),), (Fault(0.0, kind, point),), ("leave it",))


def goes_back(point: str) -> bool:
    """Whether only a rollback comes by there."""
    return ".undo." in point or point.startswith("rollback.")


def _round(chance: random.Random, *, at: float) -> Round:
    owed = [_owed(chance) for _ in range(chance.choice((0, 3, 10, 40)))]
    if owed and chance.random() < 0.25:
        owed.append(_short(chance))
    return Round(at, chance.choice(list(Region)), tuple(owed))


def _owed(chance: random.Random) -> Owed:
    payer, payee = chance.sample(range(MEMBERS), 2)
    return Owed(payer, payee, chance.randint(1, 10_000), chance.choice(CURRENCIES))


def _short(chance: random.Random) -> Owed:
    return Owed(-1, chance.randrange(MEMBERS), chance.randint(1, 10_000), chance.choice(CURRENCIES))


def _fault(chance: random.Random, rounds: list[Round]) -> Fault:
    """Draw a fault near a round; where only a rollback comes by, the round is made short."""
    kind = chance.choices(list(KINDS), weights=list(KINDS.values()))[0]
    place = chance.randrange(len(rounds))
    at = max(0.0, rounds[place].at + chance.uniform(-AHEAD, AFTER_ROUND_SECONDS))
    if kind in ("drop", "duplicate"):
        return Fault(at, kind, chance.choice(PUBLISHES))
    if kind == "relay point":
        return Fault(at, kind, chance.choice([point for point in POINTS if point.startswith("relay.")]))
    if kind not in ("raise", "kill", "hang", "poison"):
        return Fault(at, kind)
    back = chance.random() < 0.25
    stepped = [each for each in STACK_POINTS if not each.startswith("relay.") and goes_back(each) == back]
    if back:
        rounds[place] = replace(rounds[place], owed=(*rounds[place].owed, _short(chance)))
    return Fault(max(0.0, rounds[place].at - AHEAD), kind, chance.choice(stepped))


def _engine_fault(chance: random.Random, rounds: tuple[Round, ...]) -> Fault:
    """Draw a fault of the way to the engine outside, near a round's settlement."""
    kind = chance.choices(list(ENGINE_KINDS), weights=list(ENGINE_KINDS.values()))[0]
    at = max(0.0, chance.choice(rounds).at + chance.uniform(0, 2 * AFTER_ROUND_SECONDS))
    return Fault(at, kind, chance.choice(ENGINE_POINTS) if kind.startswith("engine: ") else "")
