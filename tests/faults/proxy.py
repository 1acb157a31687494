"""A TCP way to a Postgres server that fails on demand: at any moment, or at a chosen point of what is said on it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Self, TypeAlias, get_args

from faults.conversation import Conversation, Messages
from faults.ends import End
from percorso.storage.database import parse_url

Action: TypeAlias = Literal["reset", "close", "stall", "deaf", "mute"]
"""What happens: connections end with RST, or with FIN; nothing passes, but they stay; nothing reaches the server;
nothing comes back from it. As long as it lasts, new connections end likewise, or are taken and never answered."""
Point: TypeAlias = Literal["now", "startup", "before", "during", "after", "byte"]
"""Where: at once; when a new connection is ready, before its client hears so; before the message that commits reaches
the server; right after it was passed on; after the server has committed, before its client hears so; at any byte."""

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
POINTS: Final[tuple[Point, ...]] = get_args(Point)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to happen where. `after`: for `byte`, how many bytes later, counted in both directions."""

    action: Action
    point: Point
    after: int = 0


class Proxy:
    """Listens on a free port of the loopback and passes on to the server of a URL; `url` leads through it.

    `arm` it with a fault, wait until it `struck`, `heal` it. A fault at a point of the protocol waits for a connection
    whose application_name is `of`; once it strikes, it strikes all connections. What a stall held up arrives when it is
    over, however late; connections of which one direction was lost stay lost. `latency` (seconds) and `bandwidth`
    (bytes a second) slow down each direction of each connection.
    """

    def __init__(self, url: str, *, of: str = "percorso-writer") -> None:
        self._to = parse_url(url)
        self._of = of
        self.url = ""
        self.latency = 0.0
        self.bandwidth: float | None = None
        self.struck = asyncio.Event()
        self.strikes: Counter[tuple[Action, Point]] = Counter()
        self.down: Action | None = None
        self._armed: Fault | None = None
        self._left = 0
        self._ways: set[_Way] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._healthy = asyncio.Event()
        self._healthy.set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: End(self._accept), "127.0.0.1", 0, backlog=1024)
        port = self._server.sockets[0].getsockname()[1]
        query = {name: value for name, value in self._to.query.items() if name not in {"host", "port"}}
        way = self._to.set(drivername="postgresql", host="127.0.0.1", port=port, query={**query, "sslmode": "disable"})
        self.url = way.render_as_string(hide_password=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for way in list(self._ways):
            way.end(reset=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self, fault: Fault) -> None:
        """Let this happen, once, as soon as its point is reached. Connections that lost a direction before end now."""
        for way in [way for way in self._ways if way.maimed]:
            way.end(reset=True)
        self.struck.clear()
        self._armed = fault
        self._left = fault.after
        if fault.point == "now":
            self._strike()
        elif fault.point == "startup":
            self.cut()

    def heal(self) -> None:
        """End what lasts, and forget what was armed."""
        self._armed = None
        self.down = None
        self._healthy.set()
        for way in self._ways:
            way.flowing.set()

    def cut(self) -> None:
        """End all connections there are, with RST."""
        for way in list(self._ways):
            way.end(reset=True)

    def retarget(self, url: str) -> None:
        """Lead to another server: new connections go there, those to the one before end."""
        self._to = parse_url(url)
        self.cut()

    def reaches(self, conversation: Conversation, point: Point) -> bool:
        """Whether this point is the one where the fault is to strike."""
        return self._armed is not None and self._armed.point == point and conversation.name == self._of

    def strike_at(self, conversation: Conversation, point: Point) -> None:
        """Let the fault strike here, if this is its point."""
        if self.reaches(conversation, point):
            self._strike()

    def until_byte(self, conversation: Conversation, size: int) -> int | None:
        """Where among the next so many bytes the fault is to strike; None where it is not there."""
        if not self.reaches(conversation, "byte"):
            return None
        left, self._left = self._left, self._left - size
        return left if left < size else None

    def delay(self, size: int) -> float:
        """The seconds that so many bytes take."""
        return self.latency + (size / self.bandwidth if self.bandwidth else 0)

    def _strike(self) -> None:
        assert self._armed is not None
        fault, self._armed = self._armed, None
        self.down = fault.action
        self._healthy.clear()
        self.strikes[fault.action, fault.point] += 1
        for way in list(self._ways):
            way.suffer(fault.action)
        self.struck.set()

    def _accept(self, end: "End") -> None:
        task = asyncio.create_task(self._serve(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: "End") -> None:
        """Connect one client with the server, and pass on what they say until one of them ends."""
        while self.down is not None:
            if self.down in {"reset", "close"}:
                client.end(reset=self.down == "reset")
                return
            if self.down in {"deaf", "mute"}:
                await client.lost.wait()
                return
            await self._healthy.wait()
        server = End()
        try:
            await self._connect(server)
        except OSError:
            client.end(reset=True)
            return
        way = _Way(self, client, server)
        self._ways.add(way)
        way.suffer(self.down)  # it may have gone down while this connected
        try:
            await way.pass_on()
        finally:
            self._ways.discard(way)
            way.end(reset=False)

    async def _connect(self, end: "End") -> None:
        loop = asyncio.get_running_loop()
        host, port = self._to.query.get("host", self._to.host), self._to.query.get("port", self._to.port) or 5432
        if str(host).startswith("/"):
            await loop.create_unix_connection(lambda: end, f"{host}/.s.PGSQL.{port}")
        else:
            await loop.create_connection(lambda: end, str(host), int(str(port)))


class _Way:
    """One connection: both of its ends, what was said on it, and what ails it."""

    def __init__(self, proxy: Proxy, client: End, server: End) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._conversation = Conversation()
        self._lost: set[End] = set()
        self._awaited = False
        self.flowing = asyncio.Event()
        self.flowing.set()

    @property
    def maimed(self) -> bool:
        """Whether it lost a direction."""
        return bool(self._lost)

    def suffer(self, action: Action | None) -> None:
        """Be struck, if by anything."""
        match action:
            case "reset" | "close":
                self.end(reset=action == "reset")
            case "stall":
                self.flowing.clear()
            case "deaf":
                self._lost.add(self._server)
            case "mute":
                self._lost.add(self._client)

    def end(self, *, reset: bool) -> None:
        """End both sides."""
        self._client.end(reset=reset)
        self._server.end(reset=reset)
        self.flowing.set()

    async def pass_on(self) -> None:
        """Pass on what both sides say; done when neither says more."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forth())
            tasks.create_task(self._back())

    async def _forth(self) -> None:
        messages = Messages(of_client=True)
        while data := await self._client.take():
            for message in messages.feed(data):
                commits = self._conversation.asks(message)
                if commits:
                    self._proxy.strike_at(self._conversation, "before")
                    self._awaited = self._proxy.reaches(self._conversation, "after")
                await self._pass(message, self._server)
                if commits:
                    self._proxy.strike_at(self._conversation, "during")
        await self._pass(messages.rest(), self._server)
        await self._finish(self._server)

    async def _back(self) -> None:
        messages = Messages(of_client=False)
        held: list[bytes] = []
        while data := await self._server.take():
            for message in messages.feed(data):
                started = self._conversation.started
                ends = self._conversation.answers(message)
                held.append(message)
                if ends and not started:
                    self._proxy.strike_at(self._conversation, "startup")
                if ends and self._awaited:
                    self._awaited = False
                    if self._conversation.committed:
                        self._proxy.strike_at(self._conversation, "after")
                if not self._awaited:
                    await self._pass_all(held, self._client)
                    held.clear()
        await self._pass_all([*held, messages.rest()], self._client)
        await self._finish(self._client)

    async def _pass_all(self, messages: Sequence[bytes], end: End) -> None:
        await self._pass(b"".join(messages), end)

    async def _pass(self, data: bytes, end: End) -> None:
        """Pass this on to one of the ends, in two where the fault is to strike in its midst."""
        at = self._proxy.until_byte(self._conversation, len(data))
        if at is not None:
            await self._write(data[:at], end)
            self._proxy.strike_at(self._conversation, "byte")
            data = data[at:]
        await self._write(data, end)

    async def _write(self, data: bytes, end: End) -> None:
        await end.writable()
        if seconds := self._proxy.delay(len(data)):
            await asyncio.sleep(seconds)
        await self.flowing.wait()
        if end not in self._lost:
            end.write(data)

    async def _finish(self, end: End) -> None:
        """Tell one end that the other has ended, unless it cannot hear that."""
        await self.flowing.wait()
        if end not in self._lost:
            end.end(reset=False)
