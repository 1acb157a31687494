"""What people decide about customers: that two are one, or that one is two. Both can be undone, exactly.

So can what a guard rail decided: that an identifier is shared, and joins nobody. Only links change, or whether they
count. A customer is what follows from them, so no interaction is touched, and a customer with ten years of them is
merged and split as fast as one who has just come.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from asyncpg.pgproto.pgproto import UUID

from percorso.errors import CannotMerge, CannotRestore, InvalidRequest, NotFound, Problem, UnknownCustomer
from percorso.storage import commits, components, epoch, identities, partitions, suspicions
from percorso.storage.components import Decision, Member
from percorso.storage.database import WriteSession
from percorso.storage.linking import Guards


@dataclass(frozen=True, slots=True)
class Act:
    """Who decides, and why; `generation` and `guards` are those of the process."""

    by: str
    reason: str
    generation: int
    guards: Guards


async def split(session: WriteSession, identity: UUID, apart: Sequence[UUID], act: Act) -> list[UUID]:
    """Part these identities from the rest of the customer whom `identity` belongs to; the customers there are then.

    What links hold together stays together, on either side. Raises UnknownCustomer; InvalidRequest where one of
    `apart` is not an identity of the customer, or nothing would be left of it.
    """
    await components.lock(session, act.guards)
    all_ = await _members(session, identity)
    ours = {member.identity_id for member in all_}
    problems = [
        Problem(f"/identifiers/{index}", "is not an identifier of this customer.")
        for index, each in enumerate(apart)
        if each not in ours
    ]
    rest = [member for member in all_ if member.identity_id not in apart]
    if not problems and not rest:
        problems = [Problem("/identifiers", "names every identifier of the customer: there is nothing to part from.")]
    if problems:
        raise InvalidRequest("The customer cannot be split so.", problems=problems)
    decision = _decision(act)
    await components.cut(session, apart, rest, decision)
    return await _rebuild(session, all_, act, decision)


async def merge(session: WriteSession, identity: UUID, into: UUID, act: Act) -> list[UUID]:
    """Make one customer of the two that these identities belong to; the customer there is then, whose id is the oldest.

    Guard rails do not hold back what is decided by hand. Two that are one already stay so. Raises UnknownCustomer for
    the first, InvalidRequest for the second, CannotMerge where links cannot make them one.
    """
    await components.lock(session, act.guards)
    one, other = await _members(session, identity), await components.members(session, into)
    if not other:
        problem = Problem("/into", "No identifier and no customer id matches.")
        raise InvalidRequest("There is no such customer to merge into.", problems=[problem])
    if one[0].customer_id == other[0].customer_id:
        return [one[0].customer_id]
    if not (one[0].strong or other[0].strong):
        raise CannotMerge("Neither has an identifier that says who someone is: there is nobody to join.")
    decision = _decision(act)
    await components.join(session, one, other, decision)
    customers = await _rebuild(session, [*one, *other], act, decision)
    if len(customers) > 1:
        raise CannotMerge("One of them is a shared identifier: it leads to several customers, and belongs to none.")
    return customers


async def restore(session: WriteSession, suspicion_id: UUID, act: Act) -> UUID | None:
    """Make a shared identifier strong again: all that its active links lead to is one customer, guard rails or not.

    Links that are cut or suspected stay so. The identity; None where it was restored before. Raises NotFound, or
    CannotRestore where the suspicion is about a link.
    """
    await components.lock(session, act.guards)
    held = await suspicions.hold(session, suspicion_id)
    if held is None:
        raise NotFound("No suspicion has this id, or its identifier was erased.")
    if held.why != "shared":
        raise CannotRestore("It is about a link and not about a shared identifier: merge the two customers instead.")
    if held.decision == "restored":
        return None
    decision = _decision(act)
    await _rebuild(session, await components.restore(session, held.identity_id, decision), act, decision)
    return held.identity_id


async def _members(session: WriteSession, identity: UUID) -> list[Member]:
    if found := await components.members(session, identity):
        return found
    raise UnknownCustomer("No identifier and no customer id matches.")


def _decision(act: Act) -> Decision:
    return Decision(act.by, act.reason, datetime.now(UTC))


async def _rebuild(session: WriteSession, members: Sequence[Member], act: Act, decision: Decision) -> list[UUID]:
    """Let what follows from the links follow, and tell everyone; the customers of these identities."""
    touched = await components.rebuild(session, list({member.customer_id for member in members}))
    everyone = list({*touched, *(member.identity_id for member in members)})
    await epoch.bump(session)
    await partitions.ensure_days(session, (decision.at,))
    await commits.record(session, act.generation, "identity", at=decision.at, identity_ids=everyone)
    customers = await identities.customers_of(session, [member.identity_id for member in members])
    return list(dict.fromkeys(customers[member.identity_id] for member in members))
