"""``latprof fusion``: measured here, kept as rules, and compared with what ran."""

import json

from command_line import run_latprof

from latprof.graph.fusion_rules import FusionRules
from latprof.profilers.visits import schedule
from latprof.workflows.learn_fusion import learn_fusion

CHAINS = (("Conv", "Relu"), ("MaxPool", "Tanh"), ("Conv", "BatchNormalization", "Relu"))


def test_rules_of_onnx_runtime_are_what_it_is_known_to_do(tmp_path, monkeypatch):
    # A visit that a busy host disturbed would be made again the second time.
    monkeypatch.setattr(schedule, "disturbances", lambda *_visit: ())
    found = learn_fusion(
        output=tmp_path / "rules.json",
        chains=CHAINS,
        check=["squeezenet-1.1@64"],
        visits=1,
        store=tmp_path / "f.db",
    )
    rules = FusionRules.load(tmp_path / "rules.json")
    assert rules.chains == dict(zip(CHAINS, (True, False, True), strict=True))
    assert rules.target == found.target.to_dict()
    assert found.agreeing[1] == len(CHAINS)
    (network,) = found.agreements
    assert 0.9 * network.kernels < network.matched <= network.kernels
    assert found.exit_status == 0
    assert json.dumps(found.to_dict())

    again = learn_fusion(
        output=tmp_path / "again.json", chains=CHAINS, check=(), visits=1, store=tmp_path / "f.db"
    )
    assert again.evidence == found.evidence


def test_what_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    done = run_latprof("fusion", "-o", tmp_path / "none" / "rules.json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    done = run_latprof("fusion", "--check", "no-such-network", "-o", tmp_path / "r.json")
    assert done.returncode == 2
