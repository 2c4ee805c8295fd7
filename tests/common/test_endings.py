"""Work that a signal must not cut off."""

import signal
import threading

import pytest

from latprof.common.endings import run_to_its_end


def test_an_interrupt_is_raised_once_the_work_has_ended():
    begun, goes_on, ended = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        goes_on.wait()
        ended.append("work")

    def interrupt():
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        interrupted.wait(0.2)
        ended.append("waited")
        goes_on.set()

    interrupted = threading.Event()
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        run_to_its_end(work)
    interrupted.set()
    assert ended == ["waited", "work"]


def test_the_result_and_the_error_of_the_work_are_handed_on():
    assert run_to_its_end(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        run_to_its_end(lambda: 1 // 0)
