"""One connection as a line of CLIENT LIST."""

from typing import Protocol

from kraft.server.session_state import SessionState

SESSION_BYTES = 4096  # of an idle connection, approximately: half is its session, half Twisted's socket


class ListedSession(Protocol):
    """What CLIENT LIST shows of a session."""

    state: SessionState

    @property
    def unsent_bytes(self) -> int: ...

    @property
    def unfinished_bytes(self) -> int: ...

    @property
    def waiting_bytes(self) -> int: ...

    @property
    def fd(self) -> int: ...


def client_line(session: ListedSession, now: float) -> str:
    """One connection, with the fields of Redis in its order; buffers that kraft does not have are 0.

    One f-string: there may be ten thousand connections, and other work waits for the list.
    """
    state = session.state
    unfinished, waiting, unsent = session.unfinished_bytes, session.waiting_bytes, session.unsent_bytes
    multi, queued = state.multi, state.transaction_bytes
    total = SESSION_BYTES + unfinished + waiting + queued + unsent
    flags = ("r" if state.readonly else "") + ("x" if state.multi else "") or "N"
    return (
        f"id={state.id} addr={state.peer} laddr={state.local} fd={session.fd} name={state.name.decode()} "
        f"age={int(now - state.opened_at)} idle={int(now - state.last_input_at)} flags={flags} "
        f"db=0 sub=0 psub=0 ssub=0 multi={len(multi.commands) if multi else -1} watch={len(state.watched)} "
        f"qbuf={unfinished} qbuf-free=0 argv-mem={waiting} multi-mem={queued} rbs=0 rbp=0 "
        f"obl=0 oll={int(unsent > 0)} omem={unsent} tot-mem={total} "
        f"events={'rw' if unsent else 'r'} cmd={state.last_command or 'NULL'} "
        f"user={state.user.decode('utf-8', 'surrogateescape')} redir=-1 "
        f"resp={state.protocol} lib-name={state.library.get('lib-name', b'').decode()} "
        f"lib-ver={state.library.get('lib-ver', b'').decode()}"
    )
