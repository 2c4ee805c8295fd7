"""The cable: a small proxy between a server and a phone that can be slow, cut, or noisy."""

import contextlib
import socket
import threading
import time


class FaultyLink:
    """Listens on loopback and carries bytes to the phone, as well as it is told to.

    Attributes
    ----------
    delay_s : float
        Wait before each piece of bytes.
    cut_after : int or None
        Connections are cut when so many bytes have come from the phone or gone there.
    garbage_after : int or None
        What comes from the phone after so many bytes is replaced by noise.
    silent_after : int or None
        Nothing more is carried after so many bytes, though the connection stays.
    """

    def __init__(self):
        self._connect = _nowhere
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open = set()
        self._lock = threading.Lock()
        self.heal()
        threading.Thread(target=self._accept, daemon=True).start()

    def heal(self):
        """Carry everything, at once."""
        self.delay_s = 0.0
        self.cut_after = self.garbage_after = self.silent_after = None
        self.carried = 0

    def lead_to(self, connect):
        """Which phone it leads to: a function that connects, called in a thread of its own."""
        self._connect = connect

    def try_it(self):
        """A connection to the phone past all faults."""
        made = []
        failed = []

        def attempt():
            try:
                made.append(self._connect())
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def cut(self):
        """Cut all connections now."""
        with self._lock:
            for end in list(self._open):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._open.clear()

    def close(self):
        """Cut everything and listen no more."""
        self._listening.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                here, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._carry_one, args=(here,), daemon=True).start()

    def _carry_one(self, here):
        try:
            there = self._connect()
        except OSError:
            here.close()
            return
        for end in (here, there):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {here, there}
        threading.Thread(target=self._copy, args=(here, there, False), daemon=True).start()
        self._copy(there, here, True)

    def _copy(self, source, sink, from_phone):
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                if self.delay_s:
                    time.sleep(self.delay_s)
                before, self.carried = self.carried, self.carried + len(piece)
                if self.silent_after is not None and self.carried > self.silent_after:
                    continue
                if self.cut_after is not None and self.carried > self.cut_after:
                    sink.sendall(piece[: max(self.cut_after - before, 0)])
                    break
                if (
                    from_phone
                    and self.garbage_after is not None
                    and self.carried > self.garbage_after
                ):
                    good = max(self.garbage_after - before, 0)
                    piece = piece[:good] + bytes(b ^ 0x5A for b in piece[good:])
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            with self._lock:
                self._open.discard(end)


def _nowhere():
    raise OSError("this cable leads to no phone")
