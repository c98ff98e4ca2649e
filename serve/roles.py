"""The order of roles in a conversation that is to be answered."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 20
_SYSTEM = ("system", "developer")


def order_problem(roles: Sequence[str]) -> str | None:
    """What is wrong, or None: at most one system message, then user and assistant in turns, the user last."""
    turns = roles[1:] if roles and roles[0] in _SYSTEM else roles
    in_turns = all(role == ("assistant" if index % 2 else "user") for index, role in enumerate(turns))
    if turns and in_turns and turns[-1] == "user":
        return None
    if turns and in_turns:
        return "the last message is the assistant's; end with a question of the user"
    return (
        f"the roles are {', '.join(roles[:_SHOWN]) or 'none'}; after at most one system message, user and assistant "
        "must take turns, and a question by the user must be there"
    )
