"""The peak memory of a process while a model is loaded."""

from latprof.profilers.host.memory import ProcessMemory


def write(folder, peak, now):
    (folder / "status").write_text(f"Name:\tpython\nVmHWM:\t{peak} kB\nVmRSS:\t{now} kB\n")


def test_a_model_has_what_the_peak_rose_by(tmp_path):
    write(tmp_path, 900, 500)
    memory = ProcessMemory(tmp_path)
    assert (tmp_path / "clear_refs").read_text() == "5"
    write(tmp_path, 1500, 700)
    assert memory.peaks() == {
        "process_peak_bytes": 1500 * 1024,
        "model_peak_bytes": 1000 * 1024,
    }


def test_what_is_not_visible_is_left_out(tmp_path):
    assert ProcessMemory(tmp_path / "nowhere").peaks() == {}


def test_activations_are_what_the_model_tells(tmp_path):
    class Model:
        def activations_peak_bytes(self):
            return 4096

    write(tmp_path, 10, 10)
    assert ProcessMemory(tmp_path).peaks(Model())["activations_peak_bytes"] == 4096


def test_this_process_has_a_peak():
    memory = ProcessMemory()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    found = memory.peaks()
    if found:  # Linux
        assert found["process_peak_bytes"] > found["model_peak_bytes"] > 32 << 20
